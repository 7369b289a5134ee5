"""One step of a workflow as pages show it."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from django.utils.translation import gettext, ngettext

from .. import errors
from ..models import Event, Process, Step
from ..status import STEP_ACTIVE, Status, StepStatus
from . import wording
from .bars import Bar

if TYPE_CHECKING:
    from .steps import StepTree

__all__ = ["LINES", "StepRow"]

LINES = 20
"""Lines of a log that are shown, the newest."""
LEVELS = 6
"""Depths that are told apart."""
SOON = 60.0
"""Seconds until another attempt, below which its time isn't told."""


class StepRow:
    """One step, or one part of a parallel step, in the language that is active."""

    def __init__(self, tree: StepTree, step: Step, level: int = 0, under: str = "") -> None:
        self.tree, self.step = tree, step
        self.level = min(level, LEVELS)
        self.under = under
        """The title of the step that it is a part of."""
        self.parts: list[StepRow] = []
        """Those of its parts that run or have failed, a few of each."""
        self.log: list[Event] = []
        """The newest lines of its log, in order."""

    @property
    def id(self) -> str:
        """What tells it from the others of its workflow."""
        return f"p{self.step.pk}" if self.step.is_part else f"s{self.step.position}"

    @cached_property
    def title(self) -> str:
        """Its description; of a part, where that stands among the others."""
        return self.step.path if self.step.is_part else self.step.title

    @cached_property
    def execution(self) -> Process | None:
        """The process that executes it; of one whose result was reused, the one that once did."""
        source = self.step.source if self.step.is_reused else None
        return source.execution if source is not None else self.step.execution

    @cached_property
    def state(self) -> str:
        """A status of steps; or ``again`` while it waits for another attempt."""
        status = self.step.status
        if status not in STEP_ACTIVE:
            return status
        if not self.tree.is_active:
            return StepStatus.CANCELLED.value
        if status == StepStatus.RUNNING and self._is_pending:
            return "again" if self.execution and self.execution.attempt_number else StepStatus.QUEUED.value
        return status

    @property
    def word(self) -> str:
        """The same in a word or two."""
        return gettext("Waiting to try again") if self.state == "again" else str(StepStatus(self.state).label)

    @property
    def is_running(self) -> bool:
        """Whether it is being worked on."""
        return self.state == StepStatus.RUNNING

    @property
    def next_at(self) -> datetime | None:
        """When it is tried again, if that is worth waiting for."""
        moment = self.execution.next_attempt_at if self.state == "again" and self.execution else None
        return moment if moment and (moment - self.tree.now).total_seconds() >= SOON else None

    @property
    def time_text(self) -> str:
        """How long it took, or has taken so far."""
        begun, ended = self.step.started_at, self.step.finished_at
        if begun is None or self.state == StepStatus.SKIPPED:
            return ""
        if ended is None:
            if self.state not in (StepStatus.RUNNING, "again"):
                return ""
            return gettext("%(time)s so far") % {"time": wording.duration(self._seconds(begun, self.tree.now))}
        seconds = self._seconds(begun, ended)
        return wording.duration(seconds) if seconds >= 1 else gettext("< 1 s")

    @property
    def attempt_text(self) -> str:
        """Which attempt this is, from the second on."""
        executed = self.execution
        if executed is None or executed.attempt_number < 2:
            return ""
        words = {"number": executed.attempt_number, "most": executed.max_attempts}
        return gettext("attempt %(number)s of %(most)s") % words

    @cached_property
    def bar(self) -> Bar | None:
        """How far it is, while it runs and that is known."""
        if not self.is_running:
            return None
        percent = 100 * self.step.fraction
        if not self.step.parts:
            of_its_own = self.execution.percent if self.execution else None
            if of_its_own is None:
                return None
            percent = max(percent, of_its_own)
        return Bar(int(percent), 100, wording.percentage(percent))

    @property
    def count_text(self) -> str:
        """How much of it is done, as a number: parts, or what it counts itself."""
        step, executed = self.step, self.execution
        if step.parts:
            words = {"done": wording.amount(step.parts - step.parts_left), "total": wording.amount(step.parts)}
            return gettext("%(done)s of %(total)s parts") % words
        if executed is None or (executed.total is None and not executed.current):
            return ""
        is_exceeded = self.is_running and executed.total is not None and executed.current > executed.total
        return wording.counted(executed.current, None if is_exceeded else executed.total, executed.unit)

    @property
    def failed_text(self) -> str:
        """How many of its parts have failed."""
        count = self.step.parts_failed
        words = {"count": wording.amount(count)}
        return ngettext("%(count)s failed", "%(count)s failed", count) % words if count else ""

    @property
    def parts_title(self) -> str:
        """What those of its parts have in common that are shown by themselves."""
        running = any(part.state != StepStatus.FAILED for part in self.parts)
        failed = any(part.state == StepStatus.FAILED for part in self.parts)
        if running and failed:
            return gettext("Running and failed parts")
        return gettext("Failed parts") if failed else gettext("Running parts")

    @property
    def milestone(self) -> str:
        """The last milestone that it has reached, while it is at work."""
        executed = self.execution
        if executed is None or self.state not in (StepStatus.RUNNING, "again") or self.step.parts:
            return ""
        return "" if executed.milestone_name == "started" else str(executed.reached)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """What it shows while it runs."""
        return self.execution.messages if self.execution is not None and self.is_running else []

    @property
    def error(self) -> str:
        """Why it failed, in public words."""
        return errors.shown(self.step.error) if self.state == StepStatus.FAILED else ""

    @property
    def url(self) -> str:
        """The page of the process that executes it; nothing where that isn't there, or would tell little of it.

        What executed a reused one belongs to another workflow, which not everybody may see who sees this.
        """
        step = self.step
        is_led_to = self.tree.is_linked and step.execution is not None and not step.parts and not step.is_reused
        return step.execution.get_absolute_url() if is_led_to and step.execution is not None else ""

    @property
    def has_earlier(self) -> bool:
        """Whether there may be lines before those that are shown."""
        return len(self.log) == LINES

    @property
    def _is_pending(self) -> bool:
        executed = self.execution
        return executed is not None and executed.status == Status.PENDING

    @staticmethod
    def _seconds(begun: datetime, ended: datetime) -> float:
        return max(0.0, (ended - begun).total_seconds())
