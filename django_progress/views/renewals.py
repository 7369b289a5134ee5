"""That nothing has changed since somebody was last asked what they may see: found out for many at a time.

A full check reads a session, its user and what is asked about, for each stream: with a thousand
streams that is a few hundred queries a second. Mostly nothing has changed. That is proven here
for all that are due together, by one query for the sessions, one for the users and one for the
processes; then the last answer goes on to hold. Nothing is decided here that a full check
decides. What the proof rests on:

- Who asks follows from what the session says and from the user's row alone, and both equal
  what the last answer came from. That holds where Django's own classes read them: its sessions
  in the database, its ``get_user()`` and its hash of the session. Another store, backend or
  user model may ask elsewhere, so it isn't trusted with this.
- They own every process that is asked about, by its row as it is now, and the policy is the
  default: it lets owners see what is theirs, whatever else they are.

Whatever doesn't meet all of it takes the full check: shares, staff, policies of a project's own,
a session or a user with any difference (their last login too), and rows that are gone.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends import cached_db, db
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import LazyObject
from django.utils.module_loading import import_string

from ..access import Policy, policy, who_asks
from ..models import Process
from ..push.hub import Hub

__all__ = ["Basis", "Renewals", "unchanged"]

MOST = 500
"""Of those that are due, how many are asked for in one query."""
STORES = (db.SessionStore, cached_db.SessionStore)
MISSING = object()
"""Equals nothing that a row holds."""


class Basis:
    """What an answer came from: a request, with its session and its user as they were read for it."""

    def __init__(self, request: HttpRequest, pks: Iterable[int]) -> None:
        self.request, self.pks = request, frozenset(pks)
        self._stored: str | None = None

    @property
    def session_key(self) -> str:
        """The key of a session whose row tells all that it says; else ""."""
        session: Any = getattr(self.request, "session", None)
        return session.session_key or "" if type(session) in STORES else ""

    @property
    def user(self) -> Any:
        """The user whom Django found by the session; None for a visitor, or for anybody found in another way."""
        user: Any = getattr(self.request, "user", None)
        if isinstance(user, LazyObject):
            user = user.__dict__.get("_wrapped")
        # Where Django notes whom it has found; what others put into ``user`` isn't there.
        is_found = user is not None and user is self.request.__dict__.get("_cached_user")
        return user if is_found and type(user) is auth.get_user_model() else None

    def proves(
        self, sessions: Mapping[str, str], users: Mapping[Any, tuple[Any, ...]], rows: Mapping[int, Any]
    ) -> bool:
        """Say whether what was read now shows that the answer would be the same."""
        said = self._said(sessions.get(self.session_key))
        if said is None or not self._is_whom(said, users):
            return False
        who, access = who_asks(self.request), policy()
        return bool(self.pks) and all(pk in rows and access.owns(who, rows[pk]) for pk in self.pks)

    def _said(self, stored: str | None) -> Mapping[str, Any] | None:
        """Return what the session said; None unless it still says the same."""
        session: Any = self.request.session
        said: Mapping[str, Any] | None = session.__dict__.get("_session_cache")
        if stored is None or said is None:
            return None
        if stored != self._stored:
            # Stored again, it looks different though it says the same.
            if session.decode(stored) != said:
                return None
            self._stored = stored
        return said

    def _is_whom(self, said: Mapping[str, Any], users: Mapping[Any, tuple[Any, ...]]) -> bool:
        """Say whether that session is still of whom it was."""
        user = self.user
        if user is None:
            return auth.SESSION_KEY not in said and getattr(getattr(self.request, "user", None), "pk", None) is None
        path = said.get(auth.BACKEND_SESSION_KEY)
        return (
            said.get(auth.SESSION_KEY) == user._meta.pk.value_to_string(user)
            and path in settings.AUTHENTICATION_BACKENDS
            and _is_read_from_rows(path, user.__class__)
            and users.get(user.pk) == tuple(user.__dict__.get(name, MISSING) for name in _columns(user.__class__))
        )


def unchanged(bases: Sequence[Basis]) -> tuple[float, list[bool]]:
    """Return when they were asked about, and for each whether it is proven that its answer still holds."""
    asked_at = time.monotonic()
    keys = {basis.session_key for basis in bases} - {""}
    if not keys or not _owners_see_theirs():
        return asked_at, [False] * len(bases)
    stored = db.SessionStore.get_model_class()._default_manager.filter(
        session_key__in=keys, expire_date__gt=timezone.now()
    )
    sessions = dict(stored.values_list("session_key", "session_data"))
    users: dict[Any, tuple[Any, ...]] = {}
    model: Any = auth.get_user_model()
    if pks := {basis.user.pk for basis in bases if basis.user is not None}:
        for pk, *values in model._default_manager.filter(pk__in=pks).values_list("pk", *_columns(model)):
            users[pk] = tuple(values)
    asked = frozenset[int]().union(*(basis.pks for basis in bases))
    found = Process.objects.filter(pk__in=asked).order_by().values_list("pk", "owner_id", "visitor", named=True)
    rows: dict[int, Any] = {row.pk: row for row in found}
    return asked_at, [bool(basis.session_key) and basis.proves(sessions, users, rows) for basis in bases]


def _owners_see_theirs() -> bool:
    access = type(policy())
    return all(getattr(access, name) is getattr(Policy, name) for name in ("viewable", "own", "owns"))


@lru_cache(maxsize=8)
def _is_read_from_rows(path: str, model: type[AbstractBaseUser]) -> bool:
    """Say whether a backend finds users by their rows alone, and a session's hash and ``is_active`` come from there."""
    backend = import_string(path)
    is_active = inspect.getattr_static(model, "is_active", None)
    return (
        all(
            getattr(backend, name, None) is getattr(ModelBackend, name)
            for name in ("get_user", "user_can_authenticate")
        )
        and model.get_session_auth_hash is AbstractBaseUser.get_session_auth_hash
        and (is_active is True or "is_active" in _columns(model))
    )


@lru_cache(maxsize=8)
def _columns(model: type[AbstractBaseUser]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


class Renewals:
    """Those of one hub that are due: one batch is asked about at a time, and the next is gathered meanwhile."""

    _of: WeakKeyDictionary[Hub, Renewals] = WeakKeyDictionary()

    @classmethod
    def of(cls, hub: Hub) -> Renewals:
        """Return those of a hub."""
        return cls._of.setdefault(hub, cls())

    def __init__(self) -> None:
        self._due: list[tuple[Basis, asyncio.Future[float | None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._is_urgent = asyncio.Event()

    def hurry(self) -> None:
        """Begin with the next batch now, as somebody waits."""
        self._is_urgent.set()

    async def unchanged(self, hub: Hub, basis: Basis, *, within: float) -> float | None:
        """Return the moment at which an answer was proven to hold still, or None; others may come by ``within``."""
        answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._due.append((basis, answer))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(hub.run, within))
        return await answer

    async def _work(self, run: Callable[..., Any], within: float) -> None:
        try:
            while self._due:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_urgent.wait(), within)
                batch, self._due = self._due[:MOST], self._due[MOST:]
                if not self._due:
                    self._is_urgent.clear()
                await self._ask(run, batch)
        finally:
            self._task = None

    @staticmethod
    async def _ask(run: Callable[..., Any], batch: list[tuple[Basis, asyncio.Future[float | None]]]) -> None:
        # Whoever has left needs no answer.
        batch = [(basis, answer) for basis, answer in batch if not answer.done()]
        error: Exception | None = None
        moment, proven = 0.0, [False] * len(batch)
        try:
            if batch:
                moment, proven = await run(partial(unchanged, [basis for basis, _answer in batch]))
        except Exception as caught:
            error = caught
        for (_basis, answer), is_proven in zip(batch, proven, strict=True):
            if answer.done():
                continue
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(moment if is_proven else None)
