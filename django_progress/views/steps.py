"""The steps of a workflow as pages show them: a tree, in which thousands of parallel parts are one row.

Four queries at most, however many steps, parts and lines there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.utils.translation import gettext, ngettext

from .. import errors
from ..models import Event, Process, Step
from ..status import STEP_ACTIVE, STEP_ENDED, Status, StepStatus
from ..steps import STEPS
from . import wording
from .bars import Bar

__all__ = ["StepRow", "StepTree"]

PARTS = 10
"""How many parts of a step are shown by themselves, of those that run and of those that failed."""
MOST_PARTS = 50
"""How many of all steps together."""
LOGGED = 50
"""Steps and parts whose logs are shown: those that run, those that failed, and the last that ended."""
LINES = 20
"""Lines of a log that are shown, the newest."""
RECENT = 1_000
"""Events of a step among which these are looked for, the newest."""
LEVELS = 6
"""Depths that are told apart."""
SOON = 60.0
"""Seconds until another attempt, below which its time isn't told."""

SHOWN = (
    "process", "path", "name", "index", "position", "parent_path", "description", "description_params", "status",
    "fraction", "parts", "parts_left", "parts_failed", "error", "started_at", "finished_at", "is_reused", "source",
    "execution",
)  # fmt: skip
OF_EXECUTION = (
    "key", "status", "attempt_number", "max_attempts", "next_attempt_at", "last_seq", "current", "total", "unit",
    "percent_peak", "milestone_name", "milestone_message", "milestone_params", "message_pairs", "expires_at",
)  # fmt: skip


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
        return wording.duration(seconds) if seconds >= 1 else gettext("less than 1 s")

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


class StepTree:
    """The steps of a workflow, each before those that are its own."""

    def __init__(self, process: Process, *, is_active: bool, is_linked: bool) -> None:
        self.process, self.is_active = process, is_active
        self.is_linked = is_linked
        """Whether it may lead to the processes of the steps."""
        self.now = process.now
        self._steps = process.steps.using(process._using)
        planned = list(_shown(self._steps.planned()).order_by("position")[: STEPS + 1])
        self.has_more = len(planned) > STEPS
        """Whether there are steps besides these."""
        self.rows = self._arranged(planned[:STEPS])
        self._add_parts()
        self._add_logs()

    @property
    def most(self) -> int:
        """How many steps are shown."""
        return STEPS

    @property
    def done_text(self) -> str:
        """How many of those that are shown have ended."""
        done = sum(row.step.status in STEP_ENDED for row in self.rows)
        return gettext("%(done)s of %(total)s") % {"done": done, "total": len(self.rows)}

    def _arranged(self, steps: list[Step]) -> list[StepRow]:
        """Return the rows, depth first; a chain of hundreds is no recursion."""
        under: defaultdict[str, list[Step]] = defaultdict(list)
        for step in steps:
            under[step.parent_path].append(step)
        rows: list[StepRow] = []
        waiting = [(step, 0, "") for step in reversed(under["#"])]
        while waiting:
            step, level, title = waiting.pop()
            row = StepRow(self, step, level, title)
            rows.append(row)
            waiting += [(child, level + 1, row.title) for child in reversed(under[step.path])]
        return rows

    def _add_parts(self) -> None:
        """Add the parts that people wonder about. What is counted stands in the rows; they are not all looked at."""
        rows = {row.step.path: row for row in self.rows if row.step.parts}
        found: list[Step] = []
        parts = _shown(self._steps.filter(index__isnull=False))
        if self.is_active and any(row.is_running for row in rows.values()):
            found += parts.filter(status=StepStatus.RUNNING).order_by("index")[:MOST_PARTS]
        if any(row.step.parts_failed for row in rows.values()):
            # In no order: the database need not look at more of them than it returns.
            failed = parts.filter(status=StepStatus.FAILED).order_by()[:MOST_PARTS]
            found += sorted(failed, key=attrgetter("index"))
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for part in found:
            whole = rows.get(part.parent_path)
            counts[part.parent_path, part.status] += 1
            if whole is not None and counts[part.parent_path, part.status] <= PARTS:
                whole.parts.append(StepRow(self, part, whole.level + 1, whole.title))

    def _add_logs(self) -> None:
        """Add the newest lines of the logs of those that are most likely to be looked at. One query."""
        rows = {row.execution.pk: row for row in self._most_telling() if row.execution is not None}
        if not rows:
            return
        which = Q(process_id__in=[pk for pk, row in rows.items() if _length(row) <= RECENT])
        for pk, row in rows.items():
            if _length(row) > RECENT:
                # Numbers have no gaps, so that this bounds what is looked at of each.
                which |= Q(process_id=pk, seq__gt=_length(row) - RECENT)
        place = Window(RowNumber(), partition_by=[F("process_id")], order_by=F("seq").desc())
        lines = Event.objects.using(self.process._using).filter(which, type="log")
        for event in lines.annotate(place=place).filter(place__lte=LINES).order_by("process_id", "seq"):
            rows[event.process_id].log.append(event)

    def _most_telling(self) -> Iterable[StepRow]:
        """Return the rows whose logs are shown."""

        def rank(row: StepRow) -> tuple[int, float]:
            ended = row.step.finished_at
            order = {StepStatus.RUNNING.value: 0, "again": 0, StepStatus.FAILED.value: 1}
            return order.get(row.state, 2), -ended.timestamp() if ended else 0.0

        return sorted((row for row in self._all() if row.execution is not None), key=rank)[:LOGGED]

    def _all(self) -> Iterator[StepRow]:
        for row in self.rows:
            yield row
            yield from row.parts


def _length(row: StepRow) -> int:
    return row.execution.last_seq if row.execution is not None else 0


def _shown(steps: Any) -> Any:
    """Return steps with what is shown of them; a result may be a megabyte."""
    of_executions = [f"{path}__{name}" for path in ("execution", "source__execution") for name in OF_EXECUTION]
    related = steps.select_related("execution", "source__execution")
    return related.only(*SHOWN, "source__execution", *of_executions)
