"""The questions asked of processes, and the manager that starts them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, IntegerField, OuterRef, Q, Subquery, TextField
from django.db.models.functions import Cast

from .clock import DatabaseNow
from .conf import settings
from .status import ACTIVE, STEP_ACTIVE, STEP_FAILED, TERMINAL, Status

if TYPE_CHECKING:
    from .models import Attempt, Event, Process, ShareLink, Step, Worker  # noqa: F401

__all__ = [
    "UNSEEN", "AttemptQuerySet", "Counted", "EventQuerySet", "ProcessQuerySet", "ShareLinkQuerySet", "StepQuerySet",
    "WorkerQuerySet",
]  # fmt: skip

UNSEEN = ("context", "task_args", "task_kwargs", "task_options", "error_detail")
"""What no page shows of a process; arguments and context may be large."""


class Counted(Subquery):
    """How many rows a query finds; a slice of it bounds the count."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) dp_counted)"
    output_field = IntegerField()


class ProcessQuerySet(models.QuerySet["Process"]):
    """Processes."""

    def active(self) -> ProcessQuerySet:
        """Those that have not finished, whether or not their deadline has passed."""
        return self.filter(status__in=ACTIVE)

    def finished(self) -> ProcessQuerySet:
        """Those that have reached a terminal status."""
        return self.filter(status__in=TERMINAL)

    def owned_by(self, user: Any) -> ProcessQuerySet:
        """Those that belong to ``user``; none for a visitor without an account."""
        if getattr(user, "pk", None) is None:
            return self.none()
        return self.filter(owner_id=user.pk)

    def whole(self) -> ProcessQuerySet:
        """Those that somebody started: not the single steps of workflows."""
        return self.filter(parent=None)

    def orphaned(self) -> ProcessQuerySet:
        """Active steps of workflows that have ended."""
        # That there is a parent, so that its index is used.
        return self.active().filter(parent__isnull=False, parent__status__in=TERMINAL)

    def overdue(self) -> ProcessQuerySet:
        """Active ones whose deadline has passed, by the database's clock."""
        return self.active().filter(expires_at__lte=DatabaseNow())

    def due(self) -> ProcessQuerySet:
        """Pending ones that a message should be published for now: not the steps of what has ended."""
        # A subquery, since an outer join can't be locked.
        ended = self.model._default_manager.filter(pk=OuterRef("parent"), status__in=TERMINAL)
        return self.filter(~Exists(ended), status=Status.PENDING, due_at__lte=DatabaseNow())

    def ahead_of(self, process: Process) -> ProcessQuerySet:
        """Those that a worker would take before ``process``: older ones that wait in its queue, and may begin now.

        A broker need not keep that order exactly; it is the best that a row can tell.
        """
        now = DatabaseNow()
        may_begin = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
        older = self.filter(may_begin, status=Status.PENDING, queue=process.queue, pk__lt=process.pk)
        return older.exclude(expires_at__lte=now).order_by()

    def with_now(self) -> ProcessQuerySet:
        """With what else a view of them needs: the database's time, a lease, a request to cancel, a later retry."""
        attempts = self.model.attempt_set.rel.related_model._default_manager
        executing = attempts.filter(token=OuterRef("attempt_token"))
        later = self.model._default_manager.filter(retry_of=OuterRef("pk")).order_by("-pk")
        return self.annotate(
            db_now=DatabaseNow(),
            cancel_requested=Exists(executing.filter(cancel_requested_at__isnull=False)),
            lease_until=Subquery(executing.values("lease_until")[:1]),
            retried_key=Subquery(later.values("key")[:1]),
        )

    def newest_first(self) -> ProcessQuerySet:
        """In the order of the lists; ``pk`` breaks no ties because there are none."""
        return self.order_by("-pk")


class EventQuerySet(models.QuerySet["Event"]):
    """Events."""

    def after(self, seq: int) -> EventQuerySet:
        """Those with a higher number than ``seq``, in order."""
        return self.filter(seq__gt=seq).order_by("seq")

    def milestones(self) -> EventQuerySet:
        """Those that are milestones, in order: exactly these have a name."""
        return self.exclude(name="").order_by("seq")


class AttemptQuerySet(models.QuerySet["Attempt"]):
    """Attempts."""

    def executing(self) -> AttemptQuerySet:
        """Those whose body has not ended, as far as is known."""
        return self.filter(outcome="")

    def silent(self) -> AttemptQuerySet:
        """Executing ones whose lease has run out, by the database's clock."""
        return self.executing().filter(lease_until__lte=DatabaseNow())

    def timed_out(self) -> AttemptQuerySet:
        """Executing ones that have run for longer than they may."""
        return self.executing().filter(Q(timeout_at__lte=DatabaseNow()))


class StepQuerySet(models.QuerySet["Step"]):
    """Steps."""

    def active(self) -> StepQuerySet:
        """Those that are queued or running."""
        return self.filter(status__in=STEP_ACTIVE)

    def failed(self) -> StepQuerySet:
        """Those that failed, or were cancelled by themselves."""
        return self.filter(status__in=STEP_FAILED)

    def planned(self) -> StepQuerySet:
        """Those that stand in the definition: not the sub-steps of parallel ones."""
        return self.filter(index=None)


class ShareLinkQuerySet(models.QuerySet["ShareLink"]):
    """Links."""

    def working(self) -> ShareLinkQuerySet:
        """Those that have neither expired, by the database's clock, nor been revoked."""
        return self.filter(revoked_at=None, expires_at__gt=DatabaseNow())


class WorkerQuerySet(models.QuerySet["Worker"]):
    """Workers."""

    def alive(self) -> WorkerQuerySet:
        """Those seen within the last three beats, by the database's clock."""
        return self.filter(seen_at__gt=DatabaseNow(-3 * settings.HEARTBEAT))

    def listening_to(self, queue: str) -> WorkerQuerySet:
        """Those that take messages from ``queue``."""
        # As text, since SQLite can't be asked what a JSON list contains; databases write what isn't ASCII in two ways.
        names = {json.dumps(queue), json.dumps(queue, ensure_ascii=False)}
        among = Q(*[Q(queues_text__contains=name) for name in sorted(names)], _connector=Q.OR)
        return self.alias(queues_text=Cast("queues", TextField())).filter(among)
