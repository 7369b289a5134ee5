"""What a pending process waits for: others before it, a worker, or another attempt after one that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, IntegerField, Subquery, Value

from . import engines, errors
from .models import Process, Worker
from .querysets import Counted
from .status import Outcome, Status

__all__ = ["MOST", "Wait", "wait_of"]

MOST = 1000
"""How many of those that are ahead in a queue are counted; that many stand for more."""
SETBACKS = (Outcome.LOST, Outcome.TIMED_OUT, Outcome.FAILED)
"""The ends of an attempt after which there is another at the same thing."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a pending process waits for, as far as rows can tell."""

    ahead: int | None = None
    """How many wait ahead of it in its queue, at most ``MOST``; None before its time has come."""
    listening: bool | None = None
    """Whether a worker that is alive takes its queue; None where nobody knows which that is."""
    outcome: str = ""
    """How the attempt ended that it is tried again after; empty where it isn't."""
    setback: str = ""
    """The same in public words."""

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON status tells of it."""
        after = {"outcome": self.outcome, "message": self.setback} if self.outcome else None
        return {"ahead": self.ahead, "worker_listening": self.listening, "after": after}


def wait_of(process: Process) -> Wait | None:
    """Return what a pending process waits for; None for any other, without a query. Else one."""
    if process.shown_status != Status.PENDING:
        return None
    using = process._using
    rows = process.__class__._default_manager.using(using)
    is_time = process.next_attempt_at is None or process.next_attempt_at <= process.now
    is_known = bool(process.queue) and not engines.get_engine().is_eager()
    ahead = Counted(rows.ahead_of(process).values("pk")[:MOST]) if is_known and is_time else Value(None, IntegerField())
    listening = Worker.objects.using(using).alive().listening_to(process.queue)
    last = process.attempts.using(using).reverse()
    found = rows.filter(pk=process.pk).values_list(
        ahead, Exists(listening), Subquery(last.values("outcome")[:1]), Subquery(last.values("error")[:1])
    )
    count, heard, outcome, error = found.first() or (None, False, "", "")
    listening_now = bool(heard) if is_known else None
    if outcome not in SETBACKS:
        return Wait(count, listening_now)
    return Wait(count, listening_now, outcome, errors.shown(error or ""))
