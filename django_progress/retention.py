"""How long finished processes are kept."""

from __future__ import annotations

from django.db import router, transaction
from django.db.models import Q

from . import audit, presence, values
from .clock import DatabaseNow
from .conf import settings
from .models import Action, AuditEntry, Event, Process, ShareLink

__all__ = ["prune"]


def prune(older_than: float | None = None, *, using: str | None = None, batch: int = 500) -> int:
    """Delete processes that finished more than ``older_than`` seconds ago; return how many.

    ``None`` stands for ``KEEP_FINISHED``, of which 0 keeps everything; an age of one's own
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
        return 0
    count = 0
    while True:
        old = Process.objects.using(using).finished().filter(finished_at__lte=DatabaseNow(-age))
        pks = list(old.order_by("finished_at").values_list("pk", flat=True)[:batch])
        if not pks:
            return count
        for pk in pks:
            _delete_events(using, pk)
        with transaction.atomic(using=using):
            doomed = Process.objects.using(using).finished().filter(pk__in=pks)
            if older_than is not None:
                # Somebody decided this; what happens by itself is no one's doing.
                for process in doomed.only("key", "kind", "description", "description_params"):
                    audit.record(process, Action.REMOVED)
            count += doomed.delete()[1].get("django_progress.Process", 0)


def _delete_events(using: str, pk: int, batch: int = 5_000) -> None:
    """Delete the events of one finished process, which may be many, in batches from the first."""
    events = Event.objects.using(using).filter(process_id=pk)
    while True:
        last = events.order_by("seq").values_list("seq", flat=True)[batch : batch + 1].first()
        if last is None:
            return
        events.filter(seq__lt=last).delete()
