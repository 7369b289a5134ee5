"""The heartbeat: one thread in each worker process that renews the leases of what executes there."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, connections

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
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, executing: Execution, using: str) -> None:
        """Keep the lease of ``executing`` alive."""
        if os.getpid() != self._pid:  # Forked: threads and the state of locks did not come along.
            self.__init__()  # type: ignore[misc]
        with self._lock:
            self._held[executing.token] = (executing.lease, using)
            if self._thread is None:
                self._idle.clear()
                self._thread = threading.Thread(target=self._run, name="django_progress heartbeat", daemon=True)
                self._thread.start()

    def discard(self, executing: Execution) -> None:
        """Let the lease of ``executing`` be."""
        with self._lock:
            self._held.pop(executing.token, None)
            if not self._held:
                self._idle.set()

    def _run(self) -> None:
        try:
            while True:
                self._idle.wait(settings.HEARTBEAT)
                with self._lock:
                    held = dict(self._held)
                    if not held:
                        self._thread = None
                        return
                try:
                    renew(held)
                except (DatabaseError, InterfaceError) as error:
                    # The next beat tries again; a lease outlives several.
                    logger.warning("A heartbeat could not be written: %s", error)
                    connections.close_all()
        finally:
            connections.close_all()


def renew(held: dict[str, tuple[float, str]]) -> None:
    """Extend the leases of attempts, given as token: (lease in seconds, database alias)."""
    groups: dict[tuple[float, str], list[str]] = {}
    for token, group in held.items():
        groups.setdefault(group, []).append(token)
    for (lease, using), tokens in groups.items():
        rows = Attempt.objects.using(using).executing().filter(token__in=tokens)
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
