"""The heartbeat: one thread in each worker process that renews the leases of what executes there."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import clock, failpoints
from .execution import Execution
from .models import Attempt

__all__ = ["Held", "held", "renew"]

LOCKED = 1205
"""What MariaDB calls it when a row is locked."""
AGAIN = 0.1
"""Seconds after which a lease whose row somebody held is renewed again: before a sweep that has just found it."""

logger = logging.getLogger("django_progress")


class Held(NamedTuple):
    """The terms of one lease: its length and the time between two beats in seconds, and the database alias."""

    lease: float
    beat: float
    using: str


class Heart:
    """Beats while something executes, and sleeps for good when nothing does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}
        self._due: dict[str, float] = {}
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, executing: Execution, using: str) -> None:
        """Keep the lease of ``executing`` alive."""
        if os.getpid() != self._pid:  # Forked: threads and the state of locks did not come along.
            self.__init__()  # type: ignore[misc]
        with self._lock:
            self._held[executing.token] = Held(executing.lease, executing.beat, using)
            self._due[executing.token] = time.monotonic() + executing.beat
            self._changed.set()
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="django_progress heartbeat", daemon=True)
                thread.start()  # May fail; the next execution then tries again.
                self._thread = thread

    def discard(self, executing: Execution) -> None:
        """Let the lease of ``executing`` be."""
        with self._lock:
            self._held.pop(executing.token, None)
            self._due.pop(executing.token, None)
            self._changed.set()

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    self._changed.clear()
                    if not self._held:
                        self._thread = None
                        return
                    now = time.monotonic()
                    due = {token: self._held[token] for token, moment in self._due.items() if moment <= now}
                    for token, held in due.items():
                        self._due[token] = now + held.beat
                    pause = min(self._due.values()) - now
                if due:
                    self._beat(due)
                else:
                    self._changed.wait(pause)
        finally:
            connections.close_all()

    def _beat(self, due: dict[str, Held]) -> None:
        try:
            failpoints.reach("heartbeat.before")
            left = renew(due)
            with self._lock:
                for token in left & self._due.keys():
                    self._due[token] = min(self._due[token], time.monotonic() + AGAIN)
        except Exception as error:
            # The next beat tries again; a lease outlives several.
            logger.warning("A heartbeat could not be written: %s", error)
            with suppress(Exception):
                connections.close_all()


def renew(held: Mapping[str, Held]) -> set[str]:
    """Extend the leases of attempts, given by their tokens; return those that somebody has locked.

    They are left to the next beat: waiting for them would let the leases of the others run out.
    """
    groups: dict[tuple[float, str], list[str]] = {}
    for token, one in held.items():
        groups.setdefault((one.lease, one.using), []).append(token)
    left: set[str] = set()
    for (lease, using), tokens in groups.items():
        left |= _renew(connections[using], tokens, lease)
    return left


def _renew(connection: BaseDatabaseWrapper, tokens: list[str], lease: float) -> set[str]:
    """Extend leases of one length; return what is locked.

    In one statement and no transaction of more than that: a worker that is frozen between
    two statements would keep what it has locked.
    """
    quote = connection.ops.quote_name
    table = quote(Attempt._meta.db_table)
    until, params = clock.sql(connection, lease)
    marks = ", ".join(["%s"] * len(tokens))
    # Whether they still execute doesn't matter, and asking would make MariaDB lock others' rows.
    update = f"UPDATE {table} SET {quote('lease_until')} = {until}, {quote('doubted_at')} = NULL WHERE {quote('token')}"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            known = f"SELECT {quote('token')} FROM {table} WHERE {quote('token')} IN ({marks})"
            update = f"{update} IN ({known} FOR UPDATE SKIP LOCKED)"
            cursor.execute(f"{update} RETURNING {quote('token')}", [*params, *tokens])
            renewed = {token for (token,) in cursor.fetchall()}
            if len(renewed) == len(tokens):
                return set()
            cursor.execute(known, tokens)  # What was deleted is nobody's.
            return {token for (token,) in cursor.fetchall()} - renewed
        if connection.vendor == "mysql":
            return _renew_free_ones(cursor, update, params, tokens)
        cursor.execute(f"{update} IN ({marks})", [*params, *tokens])
        return set()


def _renew_free_ones(cursor: Any, update: str, params: list[Any], tokens: list[str]) -> set[str]:
    """Skip what is locked where an UPDATE can't say so: all at once without waiting, else each by itself."""
    marks = ", ".join(["%s"] * len(tokens))
    try:
        cursor.execute(f"SET STATEMENT innodb_lock_wait_timeout=0 FOR {update} IN ({marks})", [*params, *tokens])
    except OperationalError as error:
        if error.args[:1] != (LOCKED,):
            raise
        if len(tokens) == 1:
            return set(tokens)
        return set().union(*(_renew_free_ones(cursor, update, params, [token]) for token in tokens))
    return set()


_heart = Heart()


@contextmanager
def held(executing: Execution, using: str) -> Iterator[None]:
    """Renew the lease of ``executing`` for as long as the block runs."""
    _heart.add(executing, using)
    try:
        yield
    finally:
        _heart.discard(executing)
