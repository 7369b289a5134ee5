"""What can be read off a process."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from django.urls import reverse
from django.utils import timezone

from . import addresses, execution, values
from .execution import MilestoneReached
from .status import ACTIVE, TERMINAL, Status

if TYPE_CHECKING:
    from .models import Process
    from .querysets import AttemptQuerySet, EventQuerySet
    from .snapshot import Snapshot

__all__ = ["Reading"]

SAMPLES = 3
"""How many samples an estimate needs."""


class Reading:
    """Properties and addresses of a process. Nothing here writes."""

    if TYPE_CHECKING:
        pk: int
        key: Any
        status: str
        attempt_token: str
        current: float
        total: float | None
        percent_peak: float
        rate: float | None
        samples: int
        created_at: datetime
        started_at: datetime | None
        updated_at: datetime
        finished_at: datetime | None
        expires_at: datetime | None
        milestone_name: str
        milestone_message: str
        milestone_params: dict[str, Any] | None
        redirect_url: str
        event_set: Any
        attempt_set: Any

        def _execution(self) -> execution.Execution | None: ...

    @property
    def now(self) -> datetime:
        """The time it is compared with: the database's, where ``with_now()`` brought it along."""
        return self.__dict__.get("db_now") or timezone.now()

    @property
    def shown_status(self) -> Status:
        """Its status, expired also when that is not stored yet."""
        if self.status in ACTIVE and self.expires_at is not None and self.expires_at <= self.now:
            return Status.EXPIRED
        return Status(self.status)

    @property
    def is_active(self) -> bool:
        """Whether it has not ended, its deadline taken into account."""
        return self.shown_status in ACTIVE

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, its deadline taken into account."""
        return self.shown_status in TERMINAL

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to cancel and has not ended yet. One query, unless ``with_now()`` brought it."""
        if not self.attempt_token or self.is_finished:
            return False
        if "cancel_requested" in self.__dict__:
            return bool(self.__dict__["cancel_requested"])
        return bool(self.attempt_set.filter(token=self.attempt_token, cancel_requested_at__isnull=False).exists())

    @property
    def quiet(self) -> float | None:
        """Seconds since anything was last heard of the task that executes; None where none does."""
        if not self.attempt_token or self.shown_status != Status.RUNNING:
            return None
        return max(0.0, (self.now - self.updated_at).total_seconds())

    @property
    def percent(self) -> float | None:
        """How much is done, from 0 to 100; None when it can't be known.

        It doesn't fall when the total grows. Success with an unknown total has none.
        """
        if not self.total:
            # Of nothing there is no share; but with nothing to do, all of it is done in the end.
            return 100.0 if self.total == 0 and self.status == Status.SUCCEEDED else None
        if self.current > self.total and self.is_active:
            return None  # More is done than there was said to be: how much there is, nobody knows.
        share = 1.0 if self.current >= self.total else self.current / self.total
        if self.percent_peak >= 1 > share:
            return None  # It was full, and more work turned up: honest is only "unknown".
        return round(100 * max(share, self.percent_peak), 2)

    @property
    def elapsed(self) -> float:
        """Seconds since it was started, up to its end."""
        end = self.finished_at or (self.now if self.expires_at is None else min(self.now, self.expires_at))
        return max(0.0, (end - self.created_at).total_seconds())

    @property
    def eta(self) -> float | None:
        """Seconds that are probably left; None while there is too little to tell by."""
        if self.is_finished or self.total is None or not self.rate or self.samples < SAMPLES:
            return None
        left = max(0.0, self.total - self.current) / self.rate
        return max(0.0, left - max(0.0, (self.now - self.updated_at).total_seconds()))

    @property
    def milestones(self) -> EventQuerySet:
        """The milestones reached, as events, in order."""
        return self.event_set.milestones()  # type: ignore[no-any-return]

    @property
    def last_milestone(self) -> MilestoneReached:
        """The last milestone. In a task's body: the one at which this execution began."""
        executing = self._execution()
        return self.reached if executing is None or self.status in TERMINAL else executing.milestone

    @property
    def reached(self) -> MilestoneReached:
        """The last milestone reached by now, also in a task's body."""
        return MilestoneReached(self.milestone_name, values.public_text(self.milestone_message, self.milestone_params))

    @property
    def attempts(self) -> AttemptQuerySet:
        """Its executions, in order."""
        return self.attempt_set.order_by("number")  # type: ignore[no-any-return]

    @property
    def finished_url(self) -> str:
        """Where it leads, by how it ended: its own URL for that, else ``redirect_url``, else its status page."""
        own = {
            Status.SUCCEEDED: "success_url",
            Status.FAILED: "failure_url",
            Status.EXPIRED: "expired_url",
            Status.CANCELLED: "cancelled_url",
        }.get(self.shown_status)
        url = (getattr(self, own) if own else "") or self.redirect_url
        return addresses.display_url(url.replace("{key}", str(self.key))) or self.get_absolute_url()

    def get_absolute_url(self) -> str:
        """Return the address of its status page."""
        return reverse("django_progress:process-detail", args=[self.key])

    def get_wait_url(self) -> str:
        """Return the address of its wait page."""
        return reverse("django_progress:process-wait", args=[self.key])

    def snapshot(self) -> Snapshot:
        """Return the frozen view that HTML and JSON are made of. Reads the row again, and its events."""
        from .snapshot import take

        return take(cast("Process", self))
