"""What makes the row the queue: whatever a lost message, worker or hook left undone is found and done.

Any number of sweeps may run at once: each decision is one guarded write.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connections, router, transaction

from . import dispatch, engines, failpoints
from .clock import DatabaseNow
from .conf import settings
from .models import Attempt, Process
from .querysets import AttemptQuerySet
from .retention import remove_due
from .starting import publish
from .status import Outcome
from .workflows.winding import stop

__all__ = ["BATCH", "sweep"]

logger = logging.getLogger("django_progress")

BATCH = 200
MESSAGES = 50
"""Processes that are published at a time: as many as wait a while if a sweep is killed before it sends them."""
MESSAGE = ("key", "status", "task_name", "task_id", "task_options", "publish_count")
"""What is read of a process to publish it: arguments and results may be large."""
LONGEST = 3600.0
"""Seconds between two messages for a process that nobody takes, at most."""
DOUBT = 0.5
"""Seconds between finding a lease run out and giving its attempt up, where rows are locked one by one."""


def sweep(using: str | None = None) -> Counter[str]:
    """Do whatever is due in a database, once; return how many were expired, given up, stopped, published, removed."""
    using = using or router.db_for_write(Process)
    done: Counter[str] = Counter()
    for process in list(Process.objects.using(using).overdue().order_by("expires_at")[:BATCH]):
        done["expired"] += _decide(partial(process._expire_if_overdue, wait=False))
    attempts = Attempt.objects.using(using)
    done["timed_out"] = _give_up(using, attempts.timed_out(), Outcome.TIMED_OUT)
    doubts: list[str] = []
    done["lost"] = _give_up(using, attempts.silent(), Outcome.LOST, doubts.append)
    for _turn in range(BATCH // MESSAGES):
        batch = _take_batch(using)
        with engines.get_engine().together():
            for process in batch:
                done["published"] += _decide(publish, process)
        if len(batch) < MESSAGES:
            break
    # Last, for there may be thousands, which nobody waits for: they can't begin any more.
    for step in list(Process.objects.using(using).orphaned().only("parent").order_by("-attempt_token")[:BATCH]):
        done["stopped"] += _decide(stop, step)
    done["removed"] = _decide(partial(remove_due, once=True), using)
    if doubts and connections[using].features.has_select_for_update_skip_locked:
        time.sleep(1.1 * DOUBT)
        done["lost"] += _give_up(using, attempts.silent().filter(token__in=doubts), Outcome.LOST)
    return +done


def _give_up(
    using: str, attempts: AttemptQuerySet, outcome: Outcome, doubt: Callable[[str], object] = lambda token: None
) -> int:
    """Give up attempts; of those that may still live, by the first sight of them, call ``doubt`` with the token."""
    done = 0
    # By token, as everybody finds an attempt: who locks index and row in another order is a deadlock in MariaDB.
    for attempt in list(attempts.order_by("lease_until").select_related("process")[:BATCH]):
        done += _decide(_abandon, using, attempts.filter(token=attempt.token), attempt.process, outcome, doubt)
    return done


def _decide(decision: Callable[..., int], *args: Any) -> int:
    """Decide about one process; that it can't be done must not keep the sweep from the others."""
    try:
        return decision(*args)
    except Exception:
        logger.exception("The sweep could not settle a process; the next one tries again.")
        return 0


def _abandon(
    using: str, attempts: AttemptQuerySet, found: Process, outcome: Outcome, doubt: Callable[[str], object]
) -> bool:
    """Give up an attempt, if it is still silent and nobody holds its process."""
    skip = connections[using].features.has_select_for_update_skip_locked
    failpoints.reach("sweep.chosen")
    with transaction.atomic(using=using):
        # Always the process before its attempt, and its workflow before both; a row that somebody holds is alive.
        if not found._parent_is_free():
            return False
        held = Process.objects.using(using).select_for_update(skip_locked=skip).filter(pk=found.pk)
        process = held.first()
        if process is None:
            return False
        # Locked, so that neither a late beat nor a request to cancel slips in between.
        attempt = attempts.select_for_update(skip_locked=skip).first()
        if attempt is None:
            return False
        attempt.process = process  # Read here, and not from a replica.
        if outcome == Outcome.LOST and not _is_doubted(attempts, attempt, doubt):
            return False
        failpoints.reach("sweep.locked")
        logger.warning("Attempt %s of process %s is given up: %s.", attempt.number, attempt.process.key, outcome.value)
        dispatch.abandoned(attempt, outcome)
    return True


def _take_batch(using: str) -> list[Process]:
    """Return pending processes that nobody else publishes now: until they are due again they are ours."""
    skip = connections[using].features.has_select_for_update_skip_locked
    due = Process.objects.using(using).due()
    chosen = list(due.order_by("due_at").values_list("pk", flat=True)[:MESSAGES])
    if not chosen:
        return []
    with transaction.atomic(using=using):
        batch = list(due.filter(pk__in=chosen).only(*MESSAGE).select_for_update(skip_locked=skip))
        for count in {process.publish_count for process in batch}:
            pks = [process.pk for process in batch if process.publish_count == count]
            delay = min(LONGEST, settings.REPUBLISH_AFTER * 2.0 ** min(count, 20))
            Process.objects.using(using).filter(pk__in=pks).update(publish_count=count + 1, due_at=DatabaseNow(delay))
    failpoints.reach("sweep.publishing")
    return batch


def _is_doubted(attempts: AttemptQuerySet, attempt: Attempt, doubt: Callable[[str], object]) -> bool:
    """Say whether a lease was found run out before, and nobody has held the attempt against its worker since.

    A living worker can't beat while somebody's transaction has locked the attempt (or,
    where there is one writer, anything). When that is over, its beat must come before us:
    it tries again all the time, and where it waits for the lock with the next beat.
    """
    if attempt.doubted_at is None:
        attempts.update(doubted_at=DatabaseNow())
        doubt(attempt.token)
        return False
    skip = connections[attempts.db].features.has_select_for_update_skip_locked
    enough = DOUBT if skip else attempt.process.lease_terms[1]
    return attempts.filter(doubted_at__lte=DatabaseNow(-enough)).exists()
