"""A site that a browser can visit, logged in, and that can be told to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

POLICY = "default-src 'self'"


class Policy:
    """Middleware: the strictest policy that the app promises to work under."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response


class Outage:
    """Middleware: answers fragments with 502 for as long as a test says so."""

    active = False
    answered = 0

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        from django.http import HttpResponse

        if type(self).active and request.headers.get("HX-Request"):
            type(self).answered += 1
            return HttpResponse("<h1>Bad gateway</h1>", status=502)
        return self.get_response(request)


@pytest.fixture(autouse=True)
def strict_site(settings: Any) -> None:
    """Serve every page of these tests under the policy, and polls quickly."""
    Outage.active, Outage.answered = False, 0
    settings.MIDDLEWARE = ["tests.browser.conftest.Policy", "tests.browser.conftest.Outage", *settings.MIDDLEWARE]
    settings.DJANGO_PROGRESS = {"POLL_INTERVALS": (0.3, 0.3, 0.3)}


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann", password="ann")


@pytest.fixture
def log_in(live_server: Any, ann: User) -> Callable[[Any], None]:
    """Give a page the session of Ann."""

    def give(page: Any) -> None:
        client = Client()
        client.force_login(ann)
        page.context.add_cookies(
            [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
        )

    return give


@pytest.fixture
def visit(page: Any, live_server: Any, log_in: Callable[[Any], None]) -> Callable[[str], Any]:
    """Open an address as Ann. Whatever the browser complains about fails the test."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and "502" not in message.text and "favicon" not in message.text
            else None
        ),
    )
    log_in(page)

    def go(address: str) -> Any:
        page.goto(live_server.url + address)
        return page

    go.complaints = complaints  # type: ignore[attr-defined]
    return go
