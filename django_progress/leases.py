"""The heartbeat: one thread in each worker process that renews the leases of what executes there."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from .clock import DatabaseNow
from .conf import settings
from .execution import Execution
from .models import Attempt

__all__ = ["held", "renew"]

logger = logging.getLogger("django_progress")


class Heart:
    """Beats while something executes, and sleeps for good when nothing does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[float, str]] = {}
        self._due: dict[str, float] = {}
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, executing: Execution, using: str) -> None:
        """Keep the lease of ``executing`` alive."""
        if os.getpid() != self._pid:  # Forked: threads and the state of locks did not come along.
            self.__init__()  # type: ignore[misc]
        with self._lock:
            self._held[executing.token] = (executing.lease, using)
            self._due[executing.token] = time.monotonic() + interval(executing.lease)
            self._changed.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="django_progress heartbeat", daemon=True)
                self._thread.start()

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
                    for token, (lease, _using) in due.items():
                        self._due[token] = now + interval(lease)
                    pause = min(self._due.values()) - now
                if due:
                    self._beat(due)
                else:
                    self._changed.wait(pause)
        finally:
            connections.close_all()

    def _beat(self, due: dict[str, tuple[float, str]]) -> None:
        try:
            renew(due)
        except Exception as error:
            # The next beat tries again; a lease outlives several.
            logger.warning("A heartbeat could not be written: %s", error)
            connections.close_all()


def interval(lease: float) -> float:
    """Return the seconds between two beats: at least four fit into a lease."""
    return float(max(0.05, min(settings.HEARTBEAT, lease / 4)))


def renew(held: dict[str, tuple[float, str]]) -> None:
    """Extend the leases of attempts, given as token: (lease in seconds, database alias)."""
    groups: dict[tuple[float, str], list[str]] = {}
    for token, group in held.items():
        groups.setdefault(group, []).append(token)
    for (lease, using), tokens in groups.items():
        # Whether they still execute doesn't matter, and asking would make MariaDB lock others' rows.
        rows = Attempt.objects.using(using).filter(token__in=tokens)
        rows.update(lease_until=DatabaseNow(lease))


_heart = Heart()


@contextmanager
def held(executing: Execution, using: str) -> Iterator[None]:
    """Renew the lease of ``executing`` for as long as the block runs."""
    _heart.add(executing, using)
    try:
        yield
    finally:
        _heart.discard(executing)
