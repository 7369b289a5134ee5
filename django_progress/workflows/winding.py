"""What happens to steps that still execute when their workflow has ended."""

from __future__ import annotations

from django.db import connections, transaction

from ..endings import CANCELLED_TEXT
from ..models import Process
from ..retrying import retried
from ..status import Outcome, Status, sources
from ..writes import Guard, NewEvent

__all__ = ["AT_ONCE", "stop", "wind_up"]

AT_ONCE = 50
"""Steps that are stopped by whoever ends a workflow, those that run first; the sweep stops the others."""


def wind_up(process: Process, most: int = AT_ONCE) -> bool:
    """Stop what still executes of a workflow that has ended; return whether nothing does any more."""
    orphans = Process.objects.using(process._using).orphaned().filter(parent=process.pk)
    for step in list(orphans.only("parent").order_by("-attempt_token")[:most]):
        stop(step)
    return not orphans.exists()


@retried
def stop(step: Process) -> bool:
    """Cancel a step whose workflow has ended, unless somebody holds its row: the next sweep comes back to it.

    Its claim is refused from the moment at which the workflow ended, and whatever it still
    reports from the moment at which this is committed.
    """
    using = step._using
    skip = connections[using].features.has_select_for_update_skip_locked
    event = NewEvent(Status.CANCELLED.value, message=CANCELLED_TEXT, translatable=True)
    with transaction.atomic(using=using):
        if not step._parent_is_free():
            return False
        row = Process.objects.using(using).select_for_update(skip_locked=skip).filter(pk=step.pk).first()
        guard = Guard(sources(Status.CANCELLED), in_time=False)
        return row is not None and row._finish(guard, Status.CANCELLED, {}, event, Outcome.CANCELLED)
