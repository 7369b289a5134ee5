"""The gallery, served in the tests as the example project serves it."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.celery import app

TAKEN = (
    *("BASE_DIR", "DEMO", "DJANGO_PROGRESS", "LOGIN_REDIRECT_URL", "LOGIN_URL", "LOGOUT_REDIRECT_URL"),
    *("MIDDLEWARE", "ROOT_URLCONF", "SITE_URL", "TEMPLATES", "USE_THOUSAND_SEPARATOR"),
)


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The example project's settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXAMPLE_DATA_DIR", str(tmp_path_factory.mktemp("example")))
        from example_project import settings
    return settings


@pytest.fixture(autouse=True)
def site(example: ModuleType, settings: Any) -> None:
    for name in TAKEN:
        setattr(settings, name, getattr(example, name))


@pytest.fixture
def inline() -> Iterator[None]:
    """Have tasks executed at once. Takes ``django_db(transaction=True)``: they start at the commit."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann", password="ann")


@pytest.fixture
def visitor(client: Client, user: User) -> Client:
    """A client that is logged in."""
    client.force_login(user)
    return client


@pytest.fixture
def stranger() -> Client:
    """Another one."""
    client = Client()
    client.force_login(User.objects.create_user("bob", password="bob"))
    return client
