"""What makes the row the queue: whatever a lost message, worker or hook left undone is found and done.

Any number of sweeps may run at once: each decision is one guarded write.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from django.db import connections, transaction
from django.db.models import F

from . import dispatch, engines
from .clock import DatabaseNow
from .conf import settings
from .models import Attempt, Process
from .status import Outcome, Status

__all__ = ["BATCH", "sweep"]

logger = logging.getLogger("django_progress")

BATCH = 200
LONGEST = 3600.0
"""Seconds between two messages for a process that nobody takes, at most."""


def sweep(using: str = "default") -> Counter[str]:
    """Do once whatever is due; return how many processes were expired, published and abandoned."""
    done: Counter[str] = Counter()
    for process in Process.objects.using(using).overdue()[:BATCH]:
        done["expired"] += process._expire_if_overdue()
    for attempts, outcome in (
        (Attempt.objects.using(using).timed_out(), Outcome.TIMED_OUT),
        (Attempt.objects.using(using).silent(), Outcome.LOST),
    ):
        for pk in list(attempts.values_list("pk", flat=True)[:BATCH]):
            done[outcome.value] += _abandon(using, attempts, pk, outcome)
    for process in list(Process.objects.using(using).due().order_by("due_at")[:BATCH]):
        done["published"] += _publish(using, process)
    return +done


def _abandon(using: str, attempts: Any, pk: int, outcome: Outcome) -> bool:
    """Give up an attempt, if it is still silent and nobody holds its process."""
    skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        # Always the process before its attempt; a row that a report holds is alive.
        attempt = Attempt.objects.using(using).select_related("process").filter(pk=pk).first()
        if attempt is None:
            return False
        held = Process.objects.using(using).select_for_update(skip_locked=skip).filter(pk=attempt.process_id)
        if not held.exists() or not attempts.filter(pk=pk).exists():
            return False
        logger.warning("Attempt %s of process %s is given up: %s.", attempt.number, attempt.process.key, outcome.value)
        dispatch.abandoned(attempt, outcome)
    return True


def _publish(using: str, process: Process) -> bool:
    """Publish a pending process, unless another sweep has just done so."""
    delay = min(LONGEST, settings.REPUBLISH_AFTER * 2**process.publish_count)
    rows = Process.objects.using(using).filter(
        pk=process.pk, status=Status.PENDING, task_id=process.task_id, publish_count=process.publish_count
    )
    if not rows.update(publish_count=F("publish_count") + 1, due_at=DatabaseNow(delay)):
        return False
    return engines.get_engine().publish(
        process.task_name, task_id=process.task_id, key=str(process.key), options=dict(process.task_options)
    )
