"""Keeping a worker's threads out of SQLite while it forks a child.

SQLite keeps in memory which locks its process holds. A child that is forked while another
thread is in the middle of something takes that along: for the child the database is then
locked for ever, and the mutex of a connection that it closes is never free. Celery forks
whenever a child has died, or has done its share of tasks.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

__all__ = ["kept_off"]

_changed = threading.Condition()
_busy: Counter[int] = Counter()
"""Threads that use a database."""


@contextmanager
def kept_off() -> Iterator[None]:
    """Have other threads wait with a fork until the block is over, if there is a database on SQLite."""
    if not any(connections[alias].vendor == "sqlite" for alias in connections):
        yield
        return
    thread = threading.get_ident()
    with _changed:
        _busy[thread] += 1
    try:
        yield
    finally:
        with _changed:
            _busy[thread] -= 1
            _changed.notify_all()


def _wait() -> None:
    """Wait for all but this thread, and keep others from beginning until the fork is done."""
    _changed.acquire()
    _changed.wait_for(lambda: not any(count for thread, count in _busy.items() if thread != threading.get_ident()))


os.register_at_fork(before=_wait, after_in_parent=_changed.release, after_in_child=_changed.release)
