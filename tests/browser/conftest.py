"""A site that a browser can visit, logged in, and that can be told to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.middleware import Outage


@pytest.fixture(autouse=True)
def quick_polls(settings: Any) -> Iterator[None]:
    """Poll quickly, and end an outage with the test that made it."""
    settings.DJANGO_PROGRESS = {"POLL_INTERVALS": (0.3, 0.3, 0.3)}
    yield
    Outage.active, Outage.answered = False, 0


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
            if message.type == "error" and "502" not in message.text and "favicon" not in message.location["url"]
            else None
        ),
    )
    log_in(page)

    def go(address: str) -> Any:
        page.goto(live_server.url + address)
        return page

    go.complaints = complaints  # type: ignore[attr-defined]
    return go
