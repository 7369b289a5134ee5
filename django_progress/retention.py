"""How long finished processes are kept."""

from __future__ import annotations

from itertools import accumulate

from django.db import router, transaction
from django.db.models import Count, Exists, OuterRef, Q

from . import audit, presence, values
from .clock import DatabaseNow
from .conf import settings
from .models import Action, AuditEntry, Event, Process, ShareLink, Step
from .querysets import ProcessQuerySet

__all__ = ["prune", "remove_due"]

EVENTS = 5_000
"""How many events are deleted at a time."""
STEPS = 5_000
"""How many steps of workflows are, or those of a single workflow if these are more."""


def prune(older_than: float | None = None, *, using: str | None = None, batch: int = 500) -> int:
    """Delete processes that finished more than ``older_than`` seconds ago; return how many.

    ``None`` stands for ``KEEP_FINISHED``, of which 0 keeps everything, and for what each was
    started to be kept for (``keep_finished``); an age of one's own
    is recorded in the audit, process by process. Rows go in batches,
    a transaction each, so that neither memory nor locks grow with their number.
    """
    using = using or router.db_for_write(Process)
    if older_than is not None:
        older_than = values.duration(older_than, "older_than")
    presence.forget_old(using)
    ShareLink.objects.using(using).filter(Q(expires_at__lte=DatabaseNow()) | Q(revoked_at__isnull=False)).delete()
    if settings.KEEP_AUDIT:
        AuditEntry.objects.using(using).filter(happened_at__lte=DatabaseNow(-settings.KEEP_AUDIT)).delete()
    age = settings.KEEP_FINISHED if older_than is None else older_than
    if older_than is None and not age:
        return remove_due(using, batch=batch)
    old = _finished(using).filter(finished_at__lte=DatabaseNow(-age))
    if older_than is not None:
        return _remove(using, old, batch, recorded=True)
    return remove_due(using, batch=batch) + _remove(using, old.filter(keep_finished=None), batch)


def remove_due(using: str, *, batch: int = 500, once: bool = False) -> int:
    """Delete what was only to be kept for so long after its end (``keep_finished``); return how many."""
    return _remove(using, _finished(using).filter(remove_at__lte=DatabaseNow()), batch, once=once)


def _remove(using: str, old: ProcessQuerySet, batch: int, *, recorded: bool = False, once: bool = False) -> int:
    count = 0
    while True:
        found = list(old.order_by("finished_at").values_list("pk", flat=True)[:batch])
        if not found:
            return count
        pks = _few(using, found)
        large = Q(pk__in=pks) | Q(parent__in=pks, last_seq__gt=EVENTS)
        for pk in Process.objects.using(using).filter(large).order_by().values_list("pk", flat=True):
            _delete_events(using, pk)
        with transaction.atomic(using=using):
            doomed = _finished(using).filter(pk__in=pks)
            if recorded:
                # Somebody decided this; what happens by itself is no one's doing.
                for process in doomed.only("key", "kind", "description", "description_params"):
                    audit.record(process, Action.REMOVED)
            # By themselves, since only whole processes are counted.
            Process.objects.using(using).filter(parent__in=list(doomed.values_list("pk", flat=True))).delete()
            count += doomed.delete()[1].get("django_progress.Process", 0)
        if once or (len(found) < batch and pks == found):
            return count


def _few(using: str, pks: list[int]) -> list[int]:
    """Return the first of these, as many as have no more steps together than should be in memory."""
    steps = Step.objects.using(using).filter(process__in=pks).order_by()
    counts = dict(steps.values_list("process").annotate(Count("pk")))
    sums = accumulate(counts.get(pk, 0) for pk in pks)
    return pks[: max(1, sum(together <= STEPS for together in sums))]


def _finished(using: str) -> ProcessQuerySet:
    """Return what may be deleted: the steps of a workflow go with it, once they have stopped."""
    executing = Process.objects.active().filter(parent=OuterRef("pk"))
    return Process.objects.using(using).whole().finished().filter(~Exists(executing))


def _delete_events(using: str, pk: int, batch: int = EVENTS) -> None:
    """Delete the events of one finished process, which may be many, in batches from the first."""
    events = Event.objects.using(using).filter(process_id=pk)
    while True:
        last = events.order_by("seq").values_list("seq", flat=True)[batch : batch + 1].first()
        if last is None:
            return
        events.filter(seq__lt=last).delete()
