"""One turn of a workflow: from the end of a step to everything that can be said because of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from .. import clock, values
from ..endings import SUCCEEDED_TEXT
from ..models import Process, Step
from ..querysets import StepQuerySet
from ..status import ACTIVE, STEP_ENDED, STEP_FAILED, Outcome, Status, StepStatus, sources
from ..writes import Add, Guard, NewEvent, Peak
from . import freezing
from .failing import list_failed, tell

__all__ = ["Run"]

FEW = 5
"""Rows that are written one by one, which is faster than together."""


class Run:
    """What is known of the steps while their workflow is locked, and what has to be written.

    The rules: a step that was skipped, and one that failed without ending the workflow,
    counts as done. What waits for it goes on, and finds None as its result; its own steps
    are skipped. A step is complete when it has ended and all its own steps are complete;
    only then goes on what waits for it.
    """

    def __init__(self, workflow: Process, now: datetime | None = None) -> None:
        self.workflow = workflow
        self.gained = 0.0
        self._using = workflow._using
        self._steps = Step.objects.using(self._using).select_for_update().filter(process=workflow.pk)
        self._known: dict[str, Step] = {}
        self._dirty: dict[str, set[str]] = {}
        self._todo: deque[Callable[[], None]] = deque()
        self._ready: list[Step] = []
        self._completed = 0
        self._told: list[Step] = []
        self._failure: tuple[Step, Process] | None = None
        self._now = now

    # -- what may be said of a step ----------------------------------------------------

    def reach(self, step: Step, fraction: float) -> bool:
        """Note how far a step is; it never falls. Return whether that is farther than before."""
        gone = fraction - step.fraction
        if gone <= 0:
            return False
        if not step.parts:  # Else its parts have brought their shares.
            self.gained += step.weight * gone
        self._set(step, fraction=fraction)
        if step.is_part:
            [whole] = self._load([step.parent_path])
            self._set(whole, fraction=min(1.0, whole.fraction + gone / whole.parts))
        return True

    def end(self, step: Step, status: StepStatus, process: Process | None = None, *, result: Any = None) -> None:
        """End a step by itself, or as the process has that executed it, and see who waits for that."""
        self.reach(step, 1.0)
        self._set_ended(step, status, process, result)
        if step.is_part:
            self._todo.append(partial(self._part_ended, step))
            return
        if not step.children_left:
            self._todo.append(partial(self._complete, step))
            return
        for child in self._remember(self._steps.filter(parent_path=step.path, index=None).order_by("position")):
            follow = self._unblock if status == StepStatus.SUCCEEDED else self._skip
            self._todo.append(partial(follow, child))

    def fan_out(self, step: Step, items: list[Any]) -> None:
        """Give a step its sub-steps, one for each item."""
        self._set(step, parts=len(items), parts_left=len(items), fraction=0.0)
        step.process = self.workflow
        parts = [freezing.part(step, index, item) for index, item in enumerate(items)]
        freezing.queue(self.workflow, parts)
        Step.objects.using(self._using).bulk_create(parts, batch_size=freezing.BATCH)

    def fail(self, step: Step, status: StepStatus, process: Process) -> None:
        """End a step, and let its workflow fail because of it; the bar stays where it is."""
        self._set_ended(step, status, process)
        if step.is_part:
            [whole] = self._load([step.parent_path])
            self._set(whole, parts_failed=whole.parts_failed + 1)
        self._failure = (step, process)

    def _set_ended(self, step: Step, status: StepStatus, process: Process | None, result: Any = None) -> None:
        if process is not None and status == StepStatus.SUCCEEDED:
            result = process.result
        error = process.error if process is not None else ""
        self._set(step, status=status.value, result=result, error=error, finished_at=self._moment())
        if not step.is_part:
            self._told.append(step)

    # -- what follows ------------------------------------------------------------------

    def go_on(self) -> None:
        """Do whatever follows, and write it."""
        while self._todo and self._failure is None:
            self._todo.popleft()()
        if self._failure is not None:
            self._ready.clear()
        freezing.queue(self.workflow, self._ready)
        for step in self._ready:
            self._set(step, execution=step.execution, status=step.status, queued_at=step.queued_at)
        self.save()
        self._report()
        if self._failure is not None:
            tell(self.workflow, *self._failure)
        elif not self.workflow.steps_left:
            self._succeed()

    def save(self) -> None:
        """Write what has changed."""
        changed = [(self._known[path], names) for path, names in self._dirty.items()]
        if len(changed) <= FEW:
            for step, names in changed:
                step.save(using=self._using, update_fields=names)
        else:
            names = set().union(*(names for _, names in changed))
            Step.objects.using(self._using).bulk_update([step for step, _ in changed], names, batch_size=100)
        self._dirty.clear()

    def _part_ended(self, part: Step) -> None:
        [step] = self._load([part.parent_path])
        self._set(step, parts_left=step.parts_left - 1, parts_failed=step.parts_failed + (part.status in STEP_FAILED))
        if not step.parts_left:
            self.save()
            parts = self._steps.filter(parent_path=step.path, index__isnull=False).order_by("index")
            results = list(parts.values_list("result", flat=True))
            try:
                values.as_json(results, "The list of results")
            except ValueError as reason:
                self.end(step, StepStatus.SUCCEEDED, result=values.summary(results, reason))
            else:
                self.end(step, StepStatus.SUCCEEDED, result=results)

    def _complete(self, step: Step) -> None:
        for waiting in self._load(step.feeds):
            self._unblock(waiting)
        if step.parent_path == "#":
            self._completed += 1
            return
        [parent] = self._load([step.parent_path])
        self._set(parent, children_left=parent.children_left - 1)
        if not parent.children_left and parent.status in STEP_ENDED:
            self._todo.append(partial(self._complete, parent))

    def _unblock(self, step: Step) -> None:
        if step.status != StepStatus.INACTIVE:
            return  # Skipped, or taken over from another run.
        self._set(step, blockers=step.blockers - 1)
        if not step.blockers:
            self._ready.append(step)

    def _skip(self, step: Step) -> None:
        if step.status == StepStatus.INACTIVE:
            self.end(step, StepStatus.SKIPPED)

    def _report(self) -> None:
        """Show on the workflow's own row what has become of the steps."""
        workflow = self.workflow
        changes: dict[str, Any] = {"percent_peak": Peak(), "current": Add(self.gained)} if self.gained else {}
        if self._completed:
            changes["steps_left"] = workflow.steps_left - self._completed
        if self._failure is None and any(step.status in STEP_FAILED for step in self._known.values()):
            changes["message_pairs"] = list_failed(workflow)
        events = [
            NewEvent("step", message=step.description or step.name, translatable=step.description_params is not None,
                     details={"path": step.path, "status": step.status, **(step.description_params or {})})
            for step in self._told
        ]  # fmt: skip
        guard = Guard(ACTIVE, in_time=False)
        if not workflow._has_room():
            events = []
        workflow._write(guard, changes, events[0] if events else None)
        for event in events[1:]:
            if workflow._has_room():
                workflow._write(guard, {}, event)

    def _succeed(self) -> None:
        changes: dict[str, Any] = {"current": self.workflow.total} if self.workflow.total else {}
        if self.workflow.result is None:
            changes["result"] = self._last().values_list("result", flat=True).first()
        event = NewEvent(Status.SUCCEEDED.value, message=SUCCEEDED_TEXT, translatable=True)
        guard = Guard(sources(Status.SUCCEEDED), in_time=False)
        self.workflow._finish(guard, Status.SUCCEEDED, changes, event, Outcome.SUPERSEDED)

    def _last(self) -> StepQuerySet:
        """Return the step whose result is that of the whole: where only one was to run, that one."""
        steps = Step.objects.using(self._using).filter(process=self.workflow.pk).planned().order_by("-position")
        if steps.filter(status=StepStatus.STALE).exists():
            return steps.exclude(status=StepStatus.STALE).filter(is_reused=False)
        return steps.filter(parent_path="#")

    # -- rows --------------------------------------------------------------------------

    def executed_by(self, process: Process) -> Step:
        """Return the step that a process executes, as it is now."""
        known: Step | None = process._state.fields_cache.get("step")
        if known is None:
            return self._remember(self._steps.filter(execution=process.pk))[0]
        # Whoever executed it knows its path: so the step that it is a part of comes along.
        return self._load([known.path, known.parent_path] if known.is_part else [known.path])[0]

    def _load(self, paths: Iterable[str]) -> list[Step]:
        paths = list(paths)
        missing = [path for path in paths if path not in self._known]
        for first in range(0, len(missing), freezing.BATCH):
            self._remember(self._steps.filter(path__in=missing[first : first + freezing.BATCH]))
        return [self._known[path] for path in paths]

    def _remember(self, steps: Iterable[Step]) -> list[Step]:
        return [self._known.setdefault(step.path, step) for step in steps]

    def _set(self, step: Step, **changes: Any) -> None:
        known = self._known.setdefault(step.path, step)
        assert known is step
        for name, value in changes.items():
            setattr(step, name, value)
        self._dirty.setdefault(step.path, set()).update(changes)

    def _moment(self) -> datetime:
        if self._now is None:
            self._now = clock.read(self._using)
        return self._now
