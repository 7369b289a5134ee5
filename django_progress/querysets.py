"""The questions asked of processes, and the manager that starts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery

from .clock import DatabaseNow
from .status import ACTIVE, TERMINAL, Status

if TYPE_CHECKING:
    from .models import Attempt, Event, Process  # noqa: F401

__all__ = ["AttemptQuerySet", "EventQuerySet", "ProcessQuerySet"]


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

    def overdue(self) -> ProcessQuerySet:
        """Active ones whose deadline has passed, by the database's clock."""
        return self.active().filter(expires_at__lte=DatabaseNow())

    def due(self) -> ProcessQuerySet:
        """Pending ones that a message should be published for now."""
        return self.filter(status=Status.PENDING, due_at__lte=DatabaseNow())

    def with_now(self) -> ProcessQuerySet:
        """With what else a view of them needs: the database's time, a request to cancel, a later retry."""
        attempts = self.model.attempt_set.rel.related_model._default_manager
        later = self.model._default_manager.filter(retry_of=OuterRef("pk")).order_by("-pk")
        return self.annotate(
            db_now=DatabaseNow(),
            cancel_requested=Exists(
                attempts.filter(token=OuterRef("attempt_token"), cancel_requested_at__isnull=False)
            ),
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
