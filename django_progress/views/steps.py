"""The steps of a workflow as pages show them: a tree, in which thousands of parallel parts are one row.

Four queries at most, however many steps, parts and lines there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils.translation import gettext

from ..models import Event, Process, Step
from ..status import STEP_ENDED, StepStatus
from ..steps import STEPS
from .step_row import LINES, StepRow

__all__ = ["RECENT", "StepTree"]

PARTS = 10
"""How many parts of a step are shown by themselves, of those that run and of those that failed."""
MOST_PARTS = 50
"""How many of all steps together."""
LOGGED = 50
"""Steps and parts whose logs are shown: those that run, those that failed, and the last that ended."""
RECENT = 1_000
"""Events of a step among which these are looked for, the newest."""
SHOWN = (
    "process", "path", "name", "index", "position", "parent_path", "description", "description_params", "status",
    "fraction", "parts", "parts_left", "parts_failed", "error", "started_at", "finished_at", "is_reused", "source",
    "execution",
)  # fmt: skip
OF_EXECUTION = (
    "key", "status", "attempt_number", "max_attempts", "next_attempt_at", "last_seq", "current", "total", "unit",
    "percent_peak", "milestone_name", "milestone_message", "milestone_params", "message_pairs", "expires_at",
)  # fmt: skip


FOR_STAFF = ("error_reference", "error_detail")
"""What is read of executions for those who look after the site."""


class StepTree:
    """The steps of a workflow, each before those that are its own."""

    def __init__(self, process: Process, *, is_active: bool, is_linked: bool, is_for_staff: bool = False) -> None:
        self.process, self.is_active = process, is_active
        self.is_linked = is_linked
        """Whether it may lead to the processes of the steps."""
        self.now = process.now
        self._steps = process.steps.using(process._using)
        planned = list(_shown(self._steps.planned(), is_for_staff).order_by("position")[: STEPS + 1])
        self.has_more = len(planned) > STEPS
        """Whether there are steps besides these."""
        self.rows = self._arranged(planned[:STEPS])
        if not is_for_staff:  # They have a list of the parts, and all events.
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
        wanted = []
        if self.is_active and any(row.is_running for row in rows.values()):
            wanted.append(StepStatus.RUNNING)
        if any(row.step.parts_failed for row in rows.values()):
            wanted.append(StepStatus.FAILED)
        found = [part for status in wanted for part in sorted(self._parts(status), key=attrgetter("index"))]
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for part in found:
            whole = rows.get(part.parent_path)
            counts[part.parent_path, part.status] += 1
            if whole is not None and counts[part.parent_path, part.status] <= PARTS:
                whole.parts.append(StepRow(self, part, whole.level + 1, whole.title))

    def _parts(self, status: StepStatus) -> QuerySet[Step]:
        """Return parts of that status, in no order: the database need not look at more of them than it returns."""
        # As an expression, so that no database takes the index of all parts for that.
        parts = self._steps.alias(part=F("index") + 0).filter(part__isnull=False, status=status)
        return _shown(parts).order_by()[:MOST_PARTS]  # type: ignore[no-any-return]

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


def _shown(steps: Any, is_for_staff: bool = False) -> Any:
    """Return steps with what is shown of them; a result may be a megabyte."""
    names = (*OF_EXECUTION, *FOR_STAFF) if is_for_staff else OF_EXECUTION
    of_executions = [f"{path}__{name}" for path in ("execution", "source__execution") for name in names]
    related = steps.select_related("execution", "source__execution")
    return related.only(*SHOWN, "source__execution", *of_executions)
