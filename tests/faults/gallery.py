"""The example project in a live server, and people who visit it in Chromium; import the fixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.browser.gallery import serve_gallery


@pytest.fixture(autouse=True)
def gallery(settings: Any, tmp_path: Path) -> None:
    serve_gallery(settings, tmp_path)


@pytest.fixture
def ann(transactional_db: None) -> User:
    """Somebody who may do everything."""
    return User.objects.create_superuser("ann", password="ann")


@pytest.fixture
def ben(transactional_db: None) -> User:
    return User.objects.create_user("ben", password="ben")


@pytest.fixture
def be(live_server: Any) -> Callable[[Any, User], None]:
    """Give a page the session of somebody."""

    def be(page: Any, user: User) -> None:
        client = Client()
        client.force_login(user)
        session = client.cookies["sessionid"].value
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])

    return be


def log_in(page: Any, site: str, name: str) -> None:
    page.goto(site + "/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
