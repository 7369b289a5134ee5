"""The statuses of a process and the one table of the ways between them.

Everything that needs to know what a status means (SQL guards, constraints, admin
filters, templates, JSON) asks here. The stored values never change.
"""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

__all__ = ["ACTIVE", "TERMINAL", "TRANSITIONS", "Outcome", "Status", "sources"]


class Status(TextChoices):
    """Where a process stands."""

    PENDING = "pending", _("Waiting")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    EXPIRED = "expired", _("Expired")
    CANCELLED = "cancelled", _("Cancelled")


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.SUCCEEDED, Status.FAILED, Status.EXPIRED, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.PENDING, Status.SUCCEEDED, Status.FAILED, Status.EXPIRED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELLED: frozenset(),
}

TERMINAL: tuple[Status, ...] = tuple(status for status, ways in TRANSITIONS.items() if not ways)
ACTIVE: tuple[Status, ...] = tuple(status for status, ways in TRANSITIONS.items() if ways)


def sources(target: Status) -> tuple[Status, ...]:
    """Return the statuses from which ``target`` can be reached."""
    return tuple(status for status, ways in TRANSITIONS.items() if target in ways)


class Outcome(TextChoices):
    """How one execution of a task's body ended; empty while it runs."""

    RUNNING = "", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    REQUEUED = "requeued", _("Handed on")
    CANCELLED = "cancelled", _("Cancelled")
    EXPIRED = "expired", _("Expired")
    TIMED_OUT = "timed_out", _("Timed out")
    LOST = "lost", _("Worker lost")
    SUPERSEDED = "superseded", _("Superseded")
