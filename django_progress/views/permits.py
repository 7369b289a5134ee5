"""Whether whoever reads a stream may still see what it tells: asked again while it lasts."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from django.contrib import auth
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_out
from django.http import HttpRequest

from .. import nudges
from ..push.hub import MISSED, Hub
from .renewals import Basis, Renewals

__all__ = ["Permit", "asked_again", "session_word"]

AGE = 15.0
"""Seconds for which an answer holds, when no wake-up says otherwise."""
AHEAD = 0.5, 0.9
"""Parts of that after which it is asked again on the side, so that delivery needn't wait; drawn by lot."""
GATHERING = 1 / 30
"""Part of that for which those that are asked on the side are gathered."""

R = TypeVar("R")


def session_word(session_key: str) -> str:
    """Return the word of the wake-up that says that a session has ended."""
    return f"session {hashlib.sha256(f'django_progress session {session_key}'.encode()).hexdigest()[:32]}"


def asked_again(request: HttpRequest) -> HttpRequest:
    """Return the request as it would be if it came now: its session and its user read again."""
    again = copy.copy(request)
    session: Any = getattr(request, "session", None)
    user: Any = getattr(request, "user", None)
    if session is not None and session.session_key:
        again.session = type(session)(session.session_key)
    if getattr(user, "pk", None) is not None:
        again.__dict__.pop("_cached_user", None)
        if session is not None and session.get(auth.SESSION_KEY) == user._meta.pk.value_to_string(user):
            again.user = again.__dict__["_cached_user"] = auth.get_user(again)
        else:
            # They were recognised by something else, which has no say in when that ends; a session that
            # is there too may be somebody else's.
            again.user = user.__class__._default_manager.filter(pk=user.pk).first() or AnonymousUser()
    return again


def _say_that_it_ends(sender: Any, request: HttpRequest | None, **kwargs: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key:
        nudges.send(session_word(key))


user_logged_out.connect(_say_that_it_ends, dispatch_uid="django_progress.session_ended")


class Permit(Generic[R]):
    """What one reader may see, as far as ``check`` says, which is called in the hub's second thread.

    Used inside ``async with``. An answer holds for ``AGE`` seconds, and no longer than until a
    wake-up says that it has changed who may see one of ``pks``; with the session it ends. At a
    wake-up ``wake`` is called. ``check`` has to grant owners of ``pks`` what was ``granted``: that
    they own them still, and that nothing else has changed, is asked for many readers at a time
    (see renewals.py). After a wake-up, and where it can't be proven, ``check`` is called again.
    """

    def __init__(
        self,
        hub: Hub,
        request: HttpRequest,
        check: Callable[[HttpRequest], R],
        *,
        granted: R,
        pks: Iterable[int],
        wake: Callable[[], None],
    ) -> None:
        self._hub, self._request, self._check, self._wake = hub, request, check, wake
        session: Any = getattr(request, "session", None)
        self._session_word = session_word(session.session_key) if session is not None and session.session_key else ""
        self._pks = frozenset(pks)
        self._unlisten: list[Callable[[], None]] = []
        self._renewals = Renewals.of(hub)
        self._renewal: asyncio.Task[bool] | None = None
        self._is_over = False
        self._times_heard = 0
        self._note(granted, time.monotonic(), Basis(request, self._pks))

    async def __aenter__(self) -> Permit[R]:
        words = {f"access {pk}" for pk in self._pks} | {self._session_word} - {""}
        self._unlisten = [self._hub.listen(word, self._heard) for word in words]
        self._unlisten.append(self._hub.listen(MISSED, self._missed))
        return self

    async def __aexit__(self, *exception: object) -> None:
        for unlisten in self._unlisten:
            unlisten()
        if self._renewal is not None:
            self._renewal.cancel()

    @property
    def is_stale(self) -> bool:
        """Whether it has to be asked again before anything is delivered."""
        return time.monotonic() >= self._until

    def last(self) -> R | None:
        """Return what may be seen by the last answer, while that holds; None when it has to be asked again."""
        if self._is_over or self.is_stale:
            return None
        if self._renewal is None and time.monotonic() >= self._ahead:
            self._begin()
        return self._answer

    async def value(self) -> R | None:
        """Return what may be seen, asked again if it has to be; None when the session has ended."""
        # What was asked before a wake-up came may have been answered from before what it says.
        while self.last() is None and not self._is_over:
            renewal = self._renewal or self._begin()
            self._renewals.hurry()
            if await asyncio.shield(renewal):
                break
        return None if self._is_over else self._answer

    def _begin(self) -> asyncio.Task[bool]:
        self._renewal = asyncio.get_running_loop().create_task(self._renew())
        return self._renewal

    async def _renew(self) -> bool:
        heard = self._times_heard
        try:
            found = await self._unchanged()
            if found is None:
                found = await self._hub.run(self._ask)
        finally:
            self._renewal = None
        if heard != self._times_heard:
            return False
        self._note(*found)
        return True

    async def _unchanged(self) -> tuple[R, float, Basis] | None:
        """Return the last answer as of now, if it is proven to hold; None if it has to be asked again."""
        if self._is_told:
            return None
        asked_at = await self._renewals.unchanged(self._hub, self._basis, within=AGE * GATHERING)
        return None if asked_at is None else (self._answer, asked_at, self._basis)

    def _ask(self) -> tuple[R, float, Basis]:
        asked_at, again = time.monotonic(), asked_again(self._request)
        return self._check(again), asked_at, Basis(again, self._pks)

    def _note(self, answer: R, asked_at: float, basis: Basis) -> None:
        self._answer, self._basis = answer, basis
        self.is_doubted = self._is_told = False
        """Whether a wake-up has come since the last answer, or may have been missed."""
        self._until = asked_at + AGE
        self._ahead = asked_at + AGE * random.uniform(*AHEAD)  # noqa: S311

    def _heard(self, word: str) -> None:
        self._is_told = True
        if word == self._session_word:
            self._is_over = True
        self._doubt()

    def _missed(self, word: str) -> None:
        # Mostly nothing has changed, which is asked for many at a time.
        self._doubt()

    def _doubt(self) -> None:
        self._times_heard += 1
        self.is_doubted = True
        self._until = 0.0
        self._wake()
