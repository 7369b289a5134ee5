"""From a message to an execution.

A message carries a process's key and the id of one execution, and is only a hint: it may
be lost, doubled or late. ``claim()`` turns at most one message into an execution.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django.db import connections, router, transaction

from . import execution, failpoints, values
from .coordination import get_coordinator
from .models import Event, Process
from .retrying import retried
from .status import Status
from .writes import Add, FirstNow, Guard, NewEvent

__all__ = ["claim"]

logger = logging.getLogger("django_progress")


def claim(key: str, *, task_id: str, worker: str = "", delayed: bool = True) -> execution.Execution | None:
    """Make this message's execution the one that holds the process, or return None.

    None is for a message that comes twice, too late, too early (unless ``delayed`` is
    false) or for a process that is gone: its receiver has nothing to do.
    """
    failpoints.reach("claim.before")
    process = _find(key)
    if process is None:
        logger.warning("A message names process %s, which does not exist (any more); nothing was done.", key)
        return None
    if process.status != Status.PENDING or process.task_id != task_id:
        return None  # Somebody has it, or had it: nobody has to wait for a lock to be told so.
    return _take(process, process.attempt_number + 1, uuid4().hex, task_id, worker, delayed)


@retried
def _take(
    process: Process, number: int, token: str, task_id: str, worker: str, delayed: bool
) -> execution.Execution | None:
    changes: dict[str, Any] = {
        "status": Status.RUNNING.value,
        "attempt_token": token,
        "attempt_number": Add(1),
        "executions": Add(1),
        "started_at": FirstNow(),
        "next_attempt_at": None,
        "due_at": None,
    }
    if number > 1:
        # Another attempt at the same thing starts over, and says so.
        changes |= {
            "percent_peak": 0.0, "current": 0.0, "total": process.initial_total, "rate": None, "samples": 0,
        }  # fmt: skip
    event = NewEvent("attempt", details={"attempt": number, "max_attempts": process.max_attempts})
    guard = Guard((Status.PENDING,), token="", task_id=task_id, due=delayed)
    lease, beat = process.lease_terms
    committed = not connections[process._using].in_atomic_block
    with transaction.atomic(using=process._using):
        if process.parent_id is not None and not get_coordinator().may_begin(process):
            return None
        if process._write(guard, changes, event, whole=True) is None:
            # Once more after the connection was cut: it may have been just after the commit.
            attempt = process._attempts().executing().filter(token=token, process__attempt_token=token).first()
            if attempt is None:
                process._expire_if_overdue()
                return None
            process.refresh_from_db(using=process._using)
            begins = _reached(process.event_set.using(process._using).get(seq=attempt.milestone_seq))
        else:
            now = process.updated_at
            begins = _begins_at(process)
            attempt = process._attempts().create(
                process=process,
                number=process.executions,
                attempt_number=process.attempt_number,
                milestone_seq=begins.seq,
                token=token,
                task_id=task_id,
                worker=values.text(worker, "worker", limit=255),
                started_at=now,
                lease_until=now + timedelta(seconds=lease),
                timeout_at=now + timedelta(seconds=process.attempt_timeout) if process.attempt_timeout else None,
            )
            if process.parent_id is not None:
                get_coordinator().began(process)
    executing = execution.Execution(
        process_id=process.pk,
        attempt_id=attempt.pk,
        token=token,
        number=attempt.number,
        lease=lease,
        beat=beat,
        milestone=begins.milestone,
        committed=committed,
        process=process,
    )
    process.__dict__["_bound"] = executing
    return executing


class _Begins(NamedTuple):
    """The milestone at which an execution begins, and the number of its event."""

    seq: int
    milestone: execution.MilestoneReached


def _reached(event: Event) -> _Begins:
    return _Begins(event.seq, execution.MilestoneReached(event.name, event.text))


def _begins_at(process: Process) -> _Begins:
    """Return where this execution begins; another attempt at the same thing takes the same branch."""
    if process.last_seq == 2:  # It was started, and claimed.
        return _Begins(1, process.reached)
    milestones = process.milestones.using(process._using)
    if process.attempt_number > 1:
        before = process.attempts.using(process._using).filter(number=process.executions - 1).first()
        if before is not None:
            milestones = milestones.filter(seq__lte=before.milestone_seq)
    return _reached(milestones.order_by("-seq")[0])


def _find(key: str) -> Process | None:
    try:
        UUID(key)
    except ValueError:
        return None
    # A message may be faster than a replica.
    return Process.objects.using(router.db_for_write(Process)).filter(key=key).first()
