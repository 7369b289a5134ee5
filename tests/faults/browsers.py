"""Browsers of people and of visitors without an account."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, RequestFactory

from django_progress.models import Process
from tests.executing import Work

__all__ = ["browser_of", "started_by"]


def browser_of(user: User | None = None, **options: Any) -> Client:
    """Make a browser in which ``user`` is logged in."""
    client = Client(**options)
    if user is not None:
        client.force_login(user)
    return client


def started_by(client: Client, **options: Any) -> Process:
    """Start one as a view does for the browser ``client``."""
    session = client.session
    request = RequestFactory().post("/")
    request.session = session
    pk = session.get("_auth_user_id")
    request.user = User.objects.get(pk=pk) if pk else AnonymousUser()
    process = Process.objects.start("Work", request=request, task=Work(), **options)
    session.save()
    client.cookies["sessionid"] = session.session_key
    return process
