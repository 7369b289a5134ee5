"""Visitors without an account: known by a random token inside their session.

Never by the session's key: that changes when they log in, may be fixed by somebody else,
and stands in logs. The row holds a hash of the token, so that whoever reads the database
can't become anybody's visitor.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.http import HttpRequest

__all__ = ["SESSION_KEY", "known", "recognise", "take_leave"]

SESSION_KEY = "django_progress_visitor"


def known(request: HttpRequest | None) -> str:
    """Return what identifies the visitor in rows; "" for one who has started nothing, or has an account."""
    session: Any = getattr(request, "session", None)
    if session is None or _has_account(request):
        return ""
    token = session.get(SESSION_KEY)
    return _hash(token) if isinstance(token, str) and token else ""


def recognise(request: HttpRequest | None) -> str:
    """Return what identifies the visitor, who gets a token if he has none; "" without sessions or with an account."""
    session: Any = getattr(request, "session", None)
    if session is None or _has_account(request):
        return ""
    if not isinstance(session.get(SESSION_KEY), str):
        session[SESSION_KEY] = secrets.token_urlsafe(32)
    return known(request)


def take_leave(request: HttpRequest | None) -> str:
    """Return what identified the visitor before logging in, and forget it."""
    session: Any = getattr(request, "session", None)
    token = session.pop(SESSION_KEY, None) if session is not None else None
    return _hash(token) if isinstance(token, str) and token else ""


def _has_account(request: HttpRequest | None) -> bool:
    user = getattr(request, "user", None)
    return user is not None and bool(user.is_authenticated)


def _hash(token: str) -> str:
    return hashlib.sha256(f"django_progress visitor {token}".encode()).hexdigest()
