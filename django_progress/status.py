"""The statuses of a process and the one table of the ways between them.

Everything that needs to know what a status means (SQL guards, constraints, admin
filters, templates, JSON) asks here. The stored values never change.
"""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

__all__ = [
    "ACTIVE",
    "STEP_ACTIVE",
    "STEP_ENDED",
    "STEP_FAILED",
    "STEP_OVER",
    "TERMINAL",
    "TRANSITIONS",
    "Outcome",
    "Status",
    "StepStatus",
    "sources",
]


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


class StepStatus(TextChoices):
    """Where a step of a workflow stands."""

    INACTIVE = "inactive", _("Not begun")
    QUEUED = "queued", _("Waiting")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    SKIPPED = "skipped", _("Skipped")
    CANCELLED = "cancelled", _("Cancelled")
    STALE = "stale", _("Out of date")


STEP_ACTIVE: tuple[StepStatus, ...] = (StepStatus.QUEUED, StepStatus.RUNNING)
"""Those of a step that is being executed, or is about to be."""
STEP_FAILED: tuple[StepStatus, ...] = (StepStatus.FAILED, StepStatus.CANCELLED)
"""Those of a step that ended, and not as it should."""
STEP_ENDED: tuple[StepStatus, ...] = (StepStatus.SUCCEEDED, StepStatus.SKIPPED, *STEP_FAILED)
"""Those of a step that has ended."""
STEP_OVER: tuple[StepStatus, ...] = (*STEP_ENDED, StepStatus.STALE)
"""Those of a step that nothing more happens to in this run."""
