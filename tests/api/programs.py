"""Programs that ask the site of docs/api.md."""

from __future__ import annotations

from typing import Any

import httpx
from django.contrib.auth.models import User

from django_progress.models import Process
from tests.push.serving import client_of

__all__ = ["CHOSEN", "links_of", "program"]

CSRF = "c" * 32
CHOSEN = {"WATCH_INTERVAL": 0.1, "POLL_INTERVALS": [1, 1, 1]}


def program(user: User, **options: Any) -> httpx.Client:
    """Return a client as a program of ours would have it, by a session."""
    client: httpx.Client = client_of(user, timeout=httpx.Timeout(20, read=60), **options)
    client.cookies["csrftoken"] = client.headers["X-CSRFToken"] = CSRF
    return client


def links_of(process: Process) -> dict[str, str]:
    links: dict[str, str] = process.snapshot().as_json()["links"]
    return links
