"""From the end of an execution to what comes next.

``returned()``, ``raised()`` and ``stopped()`` say what the end of a body means;
``abandoned()`` does so for a body that can't say it any more.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from . import engines, errors, execution, values
from .clock import DatabaseNow
from .clock import read as read_clock
from .conf import settings
from .endings import CANCELLED_TEXT, failure_changes, failure_event
from .exceptions import ProcessCancelled, ProcessFinished, ProcessStopped
from .models import Attempt, Process
from .retrying import retried
from .starting import publish_on_commit
from .status import TERMINAL, Outcome, Status
from .writes import Guard, Later, NewEvent

__all__ = ["abandoned", "raised", "returned", "stopped"]

logger = logging.getLogger("django_progress")


def returned(executing: execution.Execution, value: Any) -> Exception | None:
    """Settle an execution whose body returned ``value``; return an error that the body made in doing so."""
    process: Process = executing.process
    if _is_over(executing):
        return None
    if executing.asked == "requeue" and value is not None:
        error = TypeError("The task called requeue(), which hands on to its next execution, and returned a value too.")
        raised(executing, error)
        return error
    if executing.asked == "again" and value:
        error = TypeError("The task's attempt() failed, so that it is tried again, and yet it returned a value.")
        raised(executing, error)
        return error
    try:
        if executing.asked == "requeue":
            event = NewEvent("requeued")
            if not _hand_on(
                process, executing.token, Outcome.REQUEUED, event, delay=_delay(executing.delay), anew=True
            ):
                _let_go(process, executing.token)
        elif executing.asked == "again":
            _try_again(process, executing.token, errors.describe(errors.NO_SUCCESS), Outcome.FAILED)
        elif value is None:
            process.succeed()
        else:
            process.succeed(_storable(value))
    except ProcessStopped as stop:
        stopped(executing, stop)
    except ProcessFinished:
        _let_go(process, executing.token)
    return None


def raised(executing: execution.Execution, error: BaseException) -> None:
    """Settle an execution whose body raised: tried again while attempts and time remain, else failed."""
    process: Process = executing.process
    outcome = Outcome.FAILED
    failure = errors.describe(error)
    if isinstance(error, (SystemExit, KeyboardInterrupt)):  # Not the body's doing: its worker was told to end.
        outcome, failure = Outcome.LOST, failure._replace(public=errors.LOST)
    logger.error(
        "Process %s (%s) failed in attempt %d of %d, reference %s",
        process.key, process.task_name, process.attempt_number, process.max_attempts, failure.reference,
        exc_info=error,
    )  # fmt: skip
    if not _is_over(executing):
        _try_again(process, executing.token, failure, outcome)


def stopped(executing: execution.Execution, stop: ProcessStopped) -> None:
    """Settle an execution that was stopped from outside."""
    process: Process = executing.process
    if isinstance(stop, ProcessCancelled) and process._was_asked_to_cancel() and _cancelled(process, executing.token):
        return
    if not _let_go(process, executing.token):
        # Nobody stopped it, it only says so.
        raised(executing, stop)


def abandoned(attempt: Attempt, outcome: Outcome) -> None:
    """Settle an execution whose worker is lost, or that took too long."""
    if attempt.cancel_requested_at is not None and _cancelled(attempt.process, attempt.token):
        return
    text = errors.LOST if outcome == Outcome.LOST else errors.TIMED_OUT
    _try_again(attempt.process, attempt.token, errors.describe(text), outcome)


def _delay(seconds: float | None) -> float:
    return 0.0 if seconds is None or engines.get_engine().is_eager() else seconds


def _storable(value: Any) -> Any:
    try:
        return values.as_json(value, "The returned value")
    except (TypeError, ValueError) as reason:
        return values.summary(value, reason)


def _try_again(process: Process, token: str, failure: errors.Failure, outcome: Outcome) -> None:
    try:
        process.refresh_from_db(
            using=process._using, fields=["attempt_number", "max_attempts", "retry_delay", "expires_at"]
        )
    except Process.DoesNotExist:
        return
    delay = _delay(process.retry_delay)
    attempts_left = process.max_attempts - process.attempt_number
    in_time = process.expires_at is None or read_clock(process._using) + timedelta(seconds=delay) < process.expires_at
    if attempts_left > 0 and in_time:
        kind = {Outcome.LOST: "attempt_lost", Outcome.TIMED_OUT: "attempt_timed_out"}.get(outcome, "attempt_failed")
        event = failure_event(
            kind, failure, attempt=process.attempt_number, max_attempts=process.max_attempts, retry_in=delay
        )
        done = _hand_on(process, token, outcome, event, delay=delay, attempt=failure_changes(failure))
    else:
        guard = Guard((Status.RUNNING,), token=token)
        event = failure_event(Status.FAILED, failure)
        done = process._finish(guard, Status.FAILED, failure_changes(failure), event, outcome)
    if not done:
        _let_go(process, token)


@retried
def _hand_on(
    process: Process,
    token: str,
    outcome: Outcome,
    event: NewEvent,
    *,
    delay: float,
    anew: bool = False,
    attempt: dict[str, Any] | None = None,
) -> bool:
    """Make a running process pending for its next execution; a request to cancel comes first."""
    using = process._using
    attempts = Attempt.objects.using(using).executing().filter(token=token)
    if attempts.filter(cancel_requested_at__isnull=False).exists():
        return _cancelled(process, token)
    changes: dict[str, Any] = {
        "status": Status.PENDING.value,
        "attempt_token": "",
        "task_id": engines.get_engine().new_task_id(),
        "publish_count": 0 if delay else 1,
        "next_attempt_at": Later(delay) if delay else None,
        "due_at": Later(delay or settings.REPUBLISH_AFTER),
    }
    if anew:
        changes["attempt_number"] = 0
    with transaction.atomic(using=using):
        if process._write(Guard((Status.RUNNING,), token=token), changes, event) is None:
            return False
        # Not seen yet, or not made yet: whoever asks from now on finds the process pending.
        unasked = attempts.filter(cancel_requested_at=None)
        if unasked.update(outcome=outcome.value, finished_at=DatabaseNow(), **(attempt or {})):
            process.refresh_from_db(using=process._using)
            if not delay:
                publish_on_commit(process)
            return True
        transaction.set_rollback(True, using=using)
        process._give_back()
    return _cancelled(process, token)


def _cancelled(process: Process, token: str) -> bool:
    with suppress(IntegrityError):  # Whoever asked was deleted since that was read: the second time nobody is named.
        return _cancel(process, token)
    return _cancel(process, token)


def _cancel(process: Process, token: str) -> bool:
    attempt = Attempt.objects.using(process._using).filter(token=token).first()
    changes = {"ended_by_id": attempt.cancel_requested_by_id if attempt else None}
    event = NewEvent(Status.CANCELLED.value, message=CANCELLED_TEXT, translatable=True)
    return process._finish(Guard((Status.RUNNING,), token=token), Status.CANCELLED, changes, event, Outcome.CANCELLED)


def _is_over(executing: execution.Execution) -> bool:
    """Say whether the body has ended its process; it may have been rolled back since."""
    if not executing.finished:
        return False
    row = executing.process._fresh()
    if row is not None and row.status not in TERMINAL:
        executing.finished = False
        executing.process.refresh_from_db(using=executing.process._using)
    return executing.finished


@retried
def _let_go(process: Process, token: str) -> bool:
    """Close an attempt that has nothing more to say; return False for one that still holds its process."""
    if process._expire_if_overdue():
        return True
    row = process._fresh()
    if row is not None and row.attempt_token == token:
        return False
    Attempt.objects.using(process._using).executing().filter(token=token).update(
        outcome=Outcome.SUPERSEDED.value, finished_at=DatabaseNow()
    )
    return True
