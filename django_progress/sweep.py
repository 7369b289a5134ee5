"""What makes the row the queue: whatever a lost message, worker or hook left undone is found and done.

Any number of sweeps may run at once: each decision is one guarded write.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connections, router, transaction
from django.db.models import F

from . import dispatch
from .clock import DatabaseNow
from .conf import settings
from .models import Attempt, Process
from .starting import publish
from .status import Outcome, Status

__all__ = ["BATCH", "sweep"]

logger = logging.getLogger("django_progress")

BATCH = 200
LONGEST = 3600.0
"""Seconds between two messages for a process that nobody takes, at most."""


def sweep(using: str | None = None) -> Counter[str]:
    """Do once whatever is due in a database; return how many processes were expired, published and abandoned."""
    using = using or router.db_for_write(Process)
    done: Counter[str] = Counter()
    for process in list(Process.objects.using(using).overdue().order_by("expires_at")[:BATCH]):
        done["expired"] += _decide(partial(process._expire_if_overdue, wait=False))
    for attempts, outcome in (
        (Attempt.objects.using(using).timed_out(), Outcome.TIMED_OUT),
        (Attempt.objects.using(using).silent(), Outcome.LOST),
    ):
        # By token, as everybody finds an attempt: who locks index and row in another order is a deadlock in MariaDB.
        for token, process_id in list(attempts.order_by("lease_until").values_list("token", "process_id")[:BATCH]):
            done[outcome.value] += _decide(_abandon, using, attempts.filter(token=token), process_id, outcome)
    for process in list(Process.objects.using(using).due().order_by("due_at")[:BATCH]):
        done["published"] += _decide(_publish, using, process)
    return +done


def _decide(decision: Callable[..., bool], *args: Any) -> bool:
    """Decide about one process; that it can't be done must not keep the sweep from the others."""
    try:
        return decision(*args)
    except Exception:
        logger.exception("The sweep could not settle a process; the next one tries again.")
        return False


def _abandon(using: str, attempts: Any, process_id: int, outcome: Outcome) -> bool:
    """Give up an attempt, if it is still silent and nobody holds its process."""
    skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        # Always the process before its attempt; a row that somebody holds is alive.
        held = Process.objects.using(using).select_for_update(skip_locked=skip).filter(pk=process_id)
        if not held.exists():
            return False
        # Locked, so that neither a late beat nor a request to cancel slips in between.
        attempt = attempts.select_for_update(skip_locked=skip).first()
        if attempt is None:
            return False
        logger.warning("Attempt %s of process %s is given up: %s.", attempt.number, attempt.process.key, outcome.value)
        dispatch.abandoned(attempt, outcome)
    return True


def _publish(using: str, process: Process) -> bool:
    """Publish a pending process, unless another sweep has just done so."""
    delay = min(LONGEST, settings.REPUBLISH_AFTER * 2.0 ** min(process.publish_count, 20))
    rows = Process.objects.using(using).filter(
        pk=process.pk, status=Status.PENDING, task_id=process.task_id, publish_count=process.publish_count
    )
    if not rows.update(publish_count=F("publish_count") + 1, due_at=DatabaseNow(delay)):
        return False
    return publish(process)
