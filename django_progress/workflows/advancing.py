"""What follows from the end of a step: the join, decided under the lock of the workflow's process.

Every count is taken down in the transaction of the end that it counts, and all of them
wait for that one lock: so exactly one end finds that it was the last. The lock is always
taken before the step's own row (see ``Process._hold_parent()``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.db import connections, transaction

from ..clock import DatabaseNow
from ..models import Process, Step
from ..starter import Plan
from ..status import ACTIVE, STEP_ACTIVE, Status, StepStatus
from ..writes import Add, Guard, Peak, write
from . import registry
from .run import Run
from .winding import wind_up

__all__ = ["Workflows"]


class Workflows:
    """Keeps the steps of workflows in step with the processes that execute them."""

    def may_begin(self, process: Process) -> bool:
        """Lock the workflow of a step and say whether it still goes on: what is over begins nothing more.

        In the one write that shows that something about it changes.
        """
        return write(process._using, process.parent_id or 0, Guard(ACTIVE), {}) is not None

    def began(self, process: Process) -> None:
        """Show that a step runs; that it does so again, ``may_begin()`` has shown."""
        if process.executions == 1:
            steps = Step.objects.using(process._using).filter(execution=process.pk, status=StepStatus.QUEUED)
            steps.update(status=StepStatus.RUNNING, started_at=DatabaseNow())

    def ended(self, process: Process) -> None:
        """Go on with a workflow after one of its steps, or stop its steps when it has ended itself."""
        if process.parent_id is not None:
            _step_ended(process)
        else:
            active = Step.objects.using(process._using).filter(process=process.pk, status__in=STEP_ACTIVE)
            active.update(status=StepStatus.CANCELLED, finished_at=DatabaseNow())
            process._on_commit(partial(wind_up, process))

    def reported(self, process: Process) -> None:
        """Show what a step has done, in the bar of its workflow too; if somebody holds that, the next report will."""
        if process.is_finished:
            return
        using = process._using
        skip = connections[using].features.has_select_for_update_skip_locked
        with transaction.atomic(using=using):
            held = Process.objects.using(using).select_for_update(skip_locked=skip).filter(pk=process.parent_id or 0)
            workflow = held.first()
            if workflow is None or workflow.status not in ACTIVE:
                return
            run, percent = Run(workflow), process.percent
            steps = Step.objects.using(using).filter(execution=process.pk, status__in=STEP_ACTIVE, parts=0)
            step = None if percent is None else steps.first()
            changes: dict[str, Any] = {}
            if step is not None and percent is not None and run.reach(step, min(percent / 100, 1.0)):
                run.save()
                changes = {"percent_peak": Peak(), "current": Add(run.gained)}
            workflow._write(Guard(ACTIVE), changes)

    def wind_up(self, process: Process) -> bool:
        """Stop what still executes of a workflow that has ended; return whether nothing does any more."""
        return wind_up(process)

    def plan(self, name: str, kwargs: Mapping[str, Any]) -> Plan:
        """Return what writes the steps of the workflow of that name for a new process."""
        return registry.find(name).plan(kwargs)


def _step_ended(process: Process) -> None:
    workflow = process.parent
    assert workflow is not None
    assert process.finished_at is not None
    overdue = workflow.expires_at is not None and workflow.expires_at <= process.finished_at
    if (overdue and workflow._expire_if_overdue()) or workflow.status not in ACTIVE:
        return  # Its steps have been cancelled with it.
    run = Run(workflow, process.finished_at)
    step = run.executed_by(process)
    decide: dict[str, Callable[[Run, Step, Process], None]] = {Status.SUCCEEDED: _succeeded}
    decide.get(process.status, _failed)(run, step, process)
    run.go_on()


def _succeeded(run: Run, step: Step, process: Process) -> None:
    if step.condition is False:
        run.end(step, StepStatus.SKIPPED, process)
    elif step.options["each"] and not step.is_part and process.result:
        run.fan_out(step, process.result)
    else:
        run.end(step, StepStatus.SUCCEEDED, process)


def _failed(run: Run, step: Step, process: Process) -> None:
    status = StepStatus.CANCELLED if process.status == Status.CANCELLED else StepStatus.FAILED
    end = run.fail if step.options["on_failure"] == "fail" else run.end
    end(step, status, process)
