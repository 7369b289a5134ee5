"""Runs of a workflow that are asked for at the same moment, or as what they come from goes away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from django_progress.models import Process, Step
from django_progress.status import Status, StepStatus
from django_progress.workflows import Workflow, rerun_from, retry_failed
from tests.executing import fresh, settle
from tests.invariants import check_invariants
from tests.races.threads import all_together
from tests.workflows.driving import body, drain, execute, queued, statuses, step, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ROUNDS = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "15"))

Define = Callable[..., Workflow]


@pytest.fixture(autouse=True)
def invariants(transactional_db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture
def workflow(define: Define) -> Workflow:
    """Four parts, of which two fail, and a sum of what is there."""
    workflow = define()
    failing = {1, 3}

    @workflow.step(each=lambda results: [0, 1, 2, 3])
    def load(step: Process, item: int) -> int:
        if item in failing and step.parent.retry_of_id is None:  # type: ignore[union-attr]
            raise ValueError(item)
        return item

    workflow.step(name="total")(lambda step, results: sum(results["load"]))
    return workflow


def failed(workflow: Workflow) -> Process:
    process = workflow.start()
    execute(process, "#.load", "#.load[0]", "#.load[2]", "#.load[1]")
    process = fresh(process)
    assert process.status == Status.FAILED
    return process


def test_two_clicks_run_it_once(workflow: Workflow) -> None:
    for _ in range(ROUNDS):
        process = failed(workflow)
        click = partial(retry_failed, process)
        first, second = all_together(click, click)
        assert first == second
        assert queued(first) == ["#.load[1]", "#.load[3]"]
        assert Process.objects.filter(retry_of=process).count() == 1
        assert Step.objects.filter(process=first).count() == 6
        assert drain(first).result == 6


def test_the_last_parts_that_run_again_end_together(workflow: Workflow) -> None:
    for _ in range(ROUNDS):
        again = retry_failed(failed(workflow))
        taken = [take(again, "#.load[1]"), take(again, "#.load[3]")]
        all_together(*[partial(settle, executing, body) for executing in taken])
        assert step(again, "#.load").result == [0, 1, 2, 3]
        assert queued(again) == ["#.total"]
        assert drain(again).result == 6


def test_what_it_comes_from_is_removed_meanwhile(workflow: Workflow) -> None:
    """Either it runs whole, or not at all."""
    outcomes = set()
    for _ in range(ROUNDS):
        process = failed(workflow)

        def run(process: Process = process) -> Process | None:
            try:
                return retry_failed(process)
            except Process.DoesNotExist:
                return None

        again, _ = all_together(run, fresh(process).remove)
        outcomes.add(again is not None)
        assert not Process.objects.filter(pk=process.pk).exists()
        if again is None:
            assert not Process.objects.whole().active().exists()
        else:
            assert queued(again) == ["#.load[1]", "#.load[3]"]
            assert statuses(again, StepStatus.SUCCEEDED).keys() == {"#.load[0]", "#.load[2]"}
            assert not Step.objects.filter(process=again, source__isnull=False).exists()
            assert drain(Process.objects.get(pk=again.pk)).status in (Status.SUCCEEDED, Status.FAILED)
    assert outcomes


def test_an_end_and_a_run_again(workflow: Workflow) -> None:
    """Asked for as it ends: it is refused before, and finds all that was done after."""
    from django_progress.exceptions import ProcessActive

    for _ in range(ROUNDS):
        process = workflow.start()
        execute(process, "#.load", "#.load[0]", "#.load[2]")
        last = take(process, "#.load[1]")

        def run(process: Process = process) -> Process | None:
            try:
                return rerun_from(process, "#.load[0]")
            except ProcessActive:
                return None

        _, again = all_together(partial(settle, last, body), run)
        again = again or rerun_from(process, "#.load[0]")
        assert queued(again) == ["#.load[0]", "#.load[1]", "#.load[3]"]
        assert drain(again).result == 6
