"""Steps of one workflow that begin, report, end and are stopped at the same moment.

``DJANGO_PROGRESS_ROUNDS`` says how often each race is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from django_progress import claiming, retrying
from django_progress.models import Attempt, Process, Step
from django_progress.status import TERMINAL, Outcome, Status, StepStatus
from django_progress.sweep import sweep
from django_progress.workflows import Workflow
from tests.executing import fresh, run_out, settle
from tests.invariants import check_invariants
from tests.races.threads import all_together, together, tried
from tests.workflows.driving import body, drain, execute, execution, queued, statuses, step, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ROUNDS = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "15"))

Define = Callable[..., Workflow]


@pytest.fixture(autouse=True)
def invariants(transactional_db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture(autouse=True)
def deadlocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """Let no deadlock pass unseen only because what it hit is written once more."""
    met: list[Exception] = []
    is_passing = retrying._is_passing

    def noted(error: Exception) -> bool:
        if is_passing(error):
            met.append(error)
        return is_passing(error)

    monkeypatch.setattr(retrying, "_is_passing", noted)
    yield met
    assert not met


def nothing(step: Process) -> None:
    """Do nothing."""


def test_fault_51_the_last_two_steps_end_together(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", after=[])(lambda step: 1)
    workflow.step(name="b", after=[])(lambda step: 2)
    workflow.step(name="join", after=["a", "b"])(lambda step, results: results["a"] + results["b"])
    for _ in range(ROUNDS):
        process = workflow.start()
        a, b = take(process, "#.a"), take(process, "#.b")
        all_together(partial(settle, a, body), partial(settle, b, body))
        assert queued(process) == ["#.join"]
        assert Process.objects.filter(parent=process).count() == 3
        execute(process, "#.join")
        assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, 3)


def test_fault_51_the_last_sub_steps_end_together(define: Define) -> None:
    workflow = define()
    load = workflow.step(name="load", each=lambda results: [1, 2, 3, 4])(lambda step, item: item * 2)
    load.step(name="index")(lambda step, results: sum(results["load"]))
    for _ in range(ROUNDS // 2):
        process = workflow.start()
        execute(process, "#.load")
        taken = [take(process, f"#.load[{number}]") for number in range(4)]
        all_together(*[partial(settle, executing, body) for executing in taken])
        assert step(process, "#.load").result == [2, 4, 6, 8]
        assert queued(process) == ["#.load.index"]
        assert fresh(process).percent == 50
        assert drain(process).status == Status.SUCCEEDED


def test_fault_51_the_end_itself(define: Define) -> None:
    """The last two steps of all: one of them ends the workflow."""
    workflow = define()
    workflow.step(name="a", after=[])(nothing)
    workflow.step(name="b", after=[])(nothing)
    for _ in range(ROUNDS):
        process = workflow.start()
        a, b = take(process, "#.a"), take(process, "#.b")
        all_together(partial(settle, a, body), partial(settle, b, body))
        row = fresh(process)
        assert (row.status, row.percent, row.event_set.filter(type="succeeded").count()) == (Status.SUCCEEDED, 100, 1)


def test_fault_52_cancelled_as_a_step_starts(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    for _ in range(ROUNDS):
        process = workflow.start()
        child = execution(process, "#.a")
        claim = partial(claiming.claim, str(child.key), task_id=child.task_id)
        executing, _over = all_together(claim, fresh(process).cancel)
        row = step(process, "#.a")
        assert (fresh(process).status, row.status) == (Status.CANCELLED, StepStatus.CANCELLED)
        # It began while the workflow went on, or not at all.
        assert (executing is not None) == (row.started_at is not None) == (fresh(child).executions == 1)
        sweep()
        assert fresh(child).status == Status.CANCELLED
        if executing is not None:
            settle(executing, lambda step: step.checkpoint())
            assert Attempt.objects.get(process=child).outcome == Outcome.CANCELLED


def test_a_step_that_ends_as_the_workflow_does(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    workflow.step(name="b")(nothing)
    for number in range(ROUNDS):
        process = workflow.start()
        a = take(process, "#.a")
        end = fresh(process).cancel if number % 2 else partial(fresh(process).fail, "No more.")
        all_together(partial(settle, a, body), end)
        sweep()
        assert fresh(process).status == (Status.CANCELLED if number % 2 else Status.FAILED)
        assert statuses(process)["#.a"] in (StepStatus.SUCCEEDED, StepStatus.CANCELLED)
        assert not Process.objects.filter(parent=process).active().exists()


def test_two_steps_fail_together(define: Define) -> None:
    def boom(step: Process) -> None:
        raise RuntimeError

    workflow = define()
    workflow.step(name="a", after=[])(boom)
    workflow.step(name="b", after=[])(boom)
    for _ in range(ROUNDS // 2):
        process = workflow.start()
        a, b = take(process, "#.a"), take(process, "#.b")
        all_together(partial(settle, a, body), partial(settle, b, body))
        sweep()
        row = fresh(process)
        assert (row.status, row.event_set.filter(type="failed").count()) == (Status.FAILED, 1)


def test_a_loss_and_an_end(define: Define) -> None:
    """A worker is taken for dead just as it, or another one, ends its step."""
    workflow = define()
    workflow.step(name="a", after=[], max_attempts=2)(nothing)
    workflow.step(name="b", after=[])(nothing)
    for _ in range(ROUNDS // 2):
        process = workflow.start()
        a, b = take(process, "#.a"), take(process, "#.b")
        run_out()
        Attempt.objects.filter(token=b.token).update(lease_until=None)
        all_together(partial(settle, a, body), partial(settle, b, body), sweep)
        assert drain(process).status == Status.SUCCEEDED


def test_reports_beside_ends_and_cancels(define: Define) -> None:
    """Whatever locks a step locks its workflow first, or not at all."""

    def work(step: Process, number: int) -> None:
        for done in range(5):
            step.set_progress(done + 1, 5)
            step.checkpoint()
            step.log("on it")
            step.milestone(f"m{done}")

    workflow = define()
    workflow.step(name="load", each=lambda results: list(range(8)), max_attempts=2)(work)
    workflow.step(name="last")(nothing)
    for turn in range(max(1, ROUNDS // 10)):
        process = workflow.start()
        execute(process, "#.load")
        taken = [take(process, f"#.load[{number}]") for number in range(8)]

        def share(number: int, taken: list[Any] = taken) -> None:
            for executing in taken[number::3]:
                tried(partial(settle, executing, body))

        other: Callable[[], Any] = fresh(process).cancel if turn % 2 else sweep
        all_together(*[partial(share, number) for number in range(3)], partial(tried, other))
        sweep()
        if turn % 2 == 0:
            assert drain(process).status == Status.SUCCEEDED
            assert fresh(process).percent == 100
        assert fresh(process).status in TERMINAL
        assert not Process.objects.filter(parent=process).active().exists()


def test_several_workers_and_one_workflow(define: Define) -> None:
    """Everybody takes what comes, messages twice: each step is executed once."""
    workflow = define()
    first = workflow.step(name="first", each=lambda results: list(range(10)))(lambda step, item: item)
    first.step(name="sum")(lambda step, results: sum(results["first"]))
    workflow.step(name="second", each=lambda results: results["first"], after=["first"])(
        lambda step, item, results: item + results["sum"]
    )
    process = workflow.start()

    def work(number: int) -> None:
        while Process.objects.filter(pk=process.pk).active().exists():
            for child in Process.objects.filter(parent=process, status=Status.PENDING).order_by("pk"):
                executing = claiming.claim(str(child.key), task_id=child.task_id)
                if executing is not None:
                    settle(executing, body)

    together(4, work)
    row = fresh(process)
    assert (row.status, row.result) == (Status.SUCCEEDED, [45 + number for number in range(10)])
    assert set(Process.objects.filter(parent=process).values_list("executions", flat=True)) == {1}
    assert Step.objects.filter(process=process).count() == 23
    check_invariants(settled=True)
