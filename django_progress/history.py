"""How long processes of one sort have usually taken."""

from __future__ import annotations

import time
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING

from .status import Status

if TYPE_CHECKING:
    from .models import Process
    from .querysets import ProcessQuerySet

__all__ = ["forget", "newest_successes", "usual_duration"]

NEWEST = 20
"""Of how many successes, the newest, the median is taken."""
LEAST = 3
"""How many of them it takes to speak of a habit."""
FRESH = 30.0
"""Seconds for which an answer is kept in this process."""
MOST = 1_000
"""Sorts whose answers are kept."""

Sort = tuple[str, str, str]
_known: dict[Sort, tuple[float, float | None]] = {}
_lock = Lock()


def usual_duration(process: Process) -> float | None:
    """Return the seconds from start to success that are usual for its task and kind; None where too few are known.

    One query now and then, which reads at most ``NEWEST`` rows, by the index dp_process_usual.
    """
    if not process.task_name and not process.kind:
        return None  # Nothing says what sort of work it is.
    sort = (process._using, process.task_name, process.kind)
    now = time.monotonic()
    with _lock:
        until, usual = _known.get(sort, (0.0, None))
    if now < until:
        return usual
    usual = _ask(process)
    with _lock:
        _known.pop(sort, None)
        _known[sort] = (now + FRESH, usual)
        if len(_known) > MOST:
            del _known[next(iter(_known))]
    return usual


def forget() -> None:
    """Forget what is kept in this process."""
    with _lock:
        _known.clear()


def newest_successes(process: Process) -> ProcessQuerySet:
    """Return the newest successes of its task and kind."""
    rows = process.__class__._default_manager.using(process._using)
    like = rows.filter(task_name=process.task_name, kind=process.kind, status=Status.SUCCEEDED)
    return like.order_by("-finished_at")[:NEWEST]


def _ask(process: Process) -> float | None:
    lives = newest_successes(process).values_list("created_at", "finished_at")
    took = [(finished - created).total_seconds() for created, finished in lives if finished]
    return max(0.0, median(took)) if len(took) >= LEAST else None
