"""Which workers there are: what people are told while they wait, and ``progress_doctor`` looks at."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from django.db import router

from . import clock, values
from .clock import DatabaseNow
from .models import Process, Worker

__all__ = ["forget", "forget_old", "note"]

KEPT = 86_400.0
"""Seconds for which a worker that was lost is remembered."""


def note(name: str, queues: Iterable[str] = (), *, swept: bool = False, using: str | None = None) -> None:
    """Note that a worker, or a command that sweeps, is alive, and whether it has just swept."""
    using = using or router.db_for_write(Process)
    name = values.text(name, "name", limit=255, required=True)
    offset = (datetime.now(UTC) - clock.read(using)).total_seconds()
    workers = Worker.objects.using(using)
    facts = {"queues": sorted(queues), "clock_offset": offset}
    times = {"seen_at": DatabaseNow(), **({"swept_at": DatabaseNow()} if swept else {})}
    if not workers.filter(name=name).update(**facts, **times):
        now = clock.read(using)
        new = Worker(name=name, seen_at=now, swept_at=now if swept else None, **facts)
        workers.bulk_create([new], ignore_conflicts=True)


def forget(name: str, *, using: str | None = None) -> None:
    """Note that a worker has ended as it should."""
    using = using or router.db_for_write(Process)
    Worker.objects.using(using).filter(name=name).delete()


def forget_old(using: str) -> None:
    """Forget the workers that were lost long ago."""
    Worker.objects.using(using).filter(seen_at__lte=DatabaseNow(-KEPT)).delete()
