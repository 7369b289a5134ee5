"""Everybody who may ask for a process, and the processes that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, RequestFactory

from django_progress import sharing
from django_progress.models import Process
from django_progress.tasks import progress_task

__all__ = ["ASKING", "TITLE", "World", "account"]

TITLE = "Import airports"


@progress_task(description=TITLE, name="tests.access.imports")
def imports(process: Process) -> None: ...


def account(name: str, *permissions: str, **flags: bool) -> User:
    """Make an account with some of Django's permissions on processes."""
    user = User.objects.create_user(name, **flags)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return user


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


class World:
    """One process: an account's (``owned``), a visitor's (``visited``) or nobody's; shared, and with links to it."""

    def __init__(self, whose: str) -> None:
        self.ann, self.ben = account("ann"), account("ben")
        self.visitor = self.visitors_client()
        self.process = self._start(whose)
        sharing.share(self.process, self.ben)
        # So that lists have something else to show, which is nobody's business either.
        imports.start(account("bob"))

    def _start(self, whose: str) -> Process:
        if whose == "visited":
            request = RequestFactory().post("/")
            request.user, request.session = AnonymousUser(), self.visitor.session
            started = imports.start(request)
            request.session.save()
            return started
        return imports.start(self.ann if whose == "owned" else None)

    @staticmethod
    def visitors_client() -> Client:
        """Make a browser that keeps cookies, and is logged in nowhere."""
        session = SessionStore()
        session["basket"] = "empty"
        session.save()
        client = Client()
        client.cookies["sessionid"] = session.session_key
        return client

    def passer_by(self) -> Client:
        """Make a visitor who has started something else."""
        client = self.visitors_client()
        request = RequestFactory().post("/")
        request.user, request.session = AnonymousUser(), client.session
        mine = imports.start(request)
        request.session.save()
        assert client.get(mine.get_absolute_url()).status_code == 200
        mine.cancel()
        mine.remove()
        return client

    def holder(self) -> Client:
        """Make somebody who has opened a link to the process, and now tries the other addresses."""
        client = self.visitors_client()
        assert client.get(sharing.get_share_url(self.process)).status_code == 200
        return client

    def gone(self, user: User) -> Client:
        """Make a browser in which an account is still logged in that was closed."""
        client = client_of(user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        return client


ASKING: dict[str, Callable[[World], Any]] = {
    "nobody": lambda world: Client(),
    "visitor with another token": World.passer_by,
    "holder of a link": World.holder,
    "visitor who started it": lambda world: world.visitor,
    "another user": lambda world: client_of(account("eve")),
    "owner": lambda world: client_of(world.ann),
    "it is shared with": lambda world: client_of(world.ben),
    "staff, may view": lambda world: client_of(account("eve", "view_process", is_staff=True)),
    "staff, may change": lambda world: client_of(account("eve", "change_process", is_staff=True)),
    "staff, may neither": lambda world: client_of(account("eve", is_staff=True)),
    "may change, no staff": lambda world: client_of(account("eve", "view_process", "change_process")),
    "superuser": lambda world: client_of(account("eve", is_staff=True, is_superuser=True)),
    "owner, inactive": lambda world: world.gone(world.ann),
    "shared with, inactive": lambda world: world.gone(world.ben),
    "staff, inactive": lambda world: world.gone(account("eve", "view_process", "change_process", is_staff=True)),
    "superuser, inactive": lambda world: world.gone(account("eve", is_staff=True, is_superuser=True)),
}
