"""That the checker sees what is broken about a workflow and its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from django_progress.invariants import find_violations
from django_progress.models import Process, Step
from django_progress.status import StepStatus
from django_progress.workflows import Workflow
from tests.workflows.driving import drain, execute, execution

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


@pytest.fixture
def process(define: Callable[..., Workflow]) -> Process:
    """One step that has ended, one whose parts wait, one that is not begun."""
    workflow = define()
    workflow.step(name="first")(lambda step: 1)
    workflow.step(name="load", each=lambda results: [1, 2])(lambda step, item: item)
    workflow.step(name="last")(lambda step: None)
    process = workflow.start()
    execute(process, "#.first", "#.load")
    return process


def change(path: str, **columns: Any) -> Callable[[Process], Any]:
    return lambda process: Step.objects.filter(process=process, path=path).update(**columns)


def stuck(process: Process) -> None:
    Step.objects.filter(process=process).active().update(status=StepStatus.INACTIVE)


def ended_badly(process: Process) -> None:
    rows = Process.objects.filter(pk=execution(process, "#.first").pk)
    rows.update(status="failed")
    rows.get().event_set.filter(type="succeeded").update(type="failed")


def lost_row(process: Process) -> None:
    Step.objects.filter(process=process, path="#.load[0]").delete()


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (stuck, "I1: process {key}: 0 of its steps are active"),
        (lost_row, "I4: process {key}: 1 sub-steps for 2 items"),
        (ended_badly, "I4: process {key}: #.first succeeded, and what executed it has not"),
        (change("#.first", status="running"), "I1: process {key}: #.first is active, and what executed it has ended"),
        (change("#.last", blockers=0), "I1: process {key}: #.last waits for nothing, and was not queued"),
        (
            change("#.load[0]", status="succeeded", finished_at=timezone.now()),
            "I4: process {key}: #.load[0] has ended, and is still executed",
        ),
        (
            lambda process: Process.objects.filter(pk=process.pk).update(steps_left=1),
            "row: process {key}: 1 steps left, and 2 not complete",
        ),
    ],
)
def test_what_is_broken_is_seen(process: Process, damage: Callable[[Process], Any], seen: str) -> None:
    assert find_violations() == []
    damage(process)
    found = [str(violation).partition(" (")[0] for violation in find_violations()]
    assert seen.format(key=process.key) in found


def test_a_step_without_its_row_is_seen(process: Process) -> None:
    child = execution(process, "#.load[0]")
    lost_row(process)
    assert f"row: process {child.key}: it is a step of a workflow, and has no row as such" in [
        str(violation).partition(" (")[0] for violation in find_violations()
    ]


def test_a_step_that_is_active_when_all_is_over(process: Process) -> None:
    drain(process)
    assert find_violations(settled=True) == []
    change("#.last", status="running")(process)
    assert any("1 of its steps are active" in str(violation) for violation in find_violations())
