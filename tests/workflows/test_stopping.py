"""How the end of a workflow reaches its steps, and the end of a step its workflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import claiming
from django_progress.exceptions import ProcessCancelled, ProcessStopped
from django_progress.models import Attempt, Process
from django_progress.status import Outcome, Status, StepStatus
from django_progress.sweep import sweep
from django_progress.workflows import Workflow, advancing
from django_progress.workflows.winding import AT_ONCE
from tests.executing import fresh, inside, run_out, settle, start
from tests.invariants import check_invariants
from tests.workflows.driving import body, drain, execute, execution, statuses, step, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]


@pytest.fixture(autouse=True)
def invariants(transactional_db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture
def process(define: Define) -> Process:
    """A workflow of one step that runs, one that waits, and one that must wait."""
    workflow = define(max_duration=60)
    workflow.step(name="runs", after=[])(lambda step: step.checkpoint())
    workflow.step(name="waits", after=[])(lambda step: None)
    workflow.step(name="last")(lambda step: None)
    return workflow.start()


def cancel(process: Process) -> None:
    fresh(process).cancel()


def expire(process: Process) -> None:
    Process.objects.filter(pk=process.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    sweep()


def fail(process: Process) -> None:
    fresh(process).fail("No more.")


@pytest.mark.parametrize(
    ("end", "status"), [(cancel, Status.CANCELLED), (expire, Status.EXPIRED), (fail, Status.FAILED)]
)
def test_every_end_reaches_every_step(process: Process, end: Callable[[Process], None], status: Status) -> None:
    executing = take(process, "#.runs")
    end(process)
    assert fresh(process).status == status
    assert statuses(process) == {
        "#.runs": StepStatus.CANCELLED,
        "#.waits": StepStatus.CANCELLED,
        "#.last": StepStatus.INACTIVE,
    }
    for path in ("#.runs", "#.waits"):
        assert execution(process, path).status == Status.CANCELLED
    # What still runs is told at its next report, and changes nothing any more.
    assert isinstance(settle(executing, body), ProcessCancelled)
    assert Attempt.objects.get(process=execution(process, "#.runs")).outcome == Outcome.CANCELLED


def test_fault_52_a_step_of_what_is_over_is_not_begun(process: Process) -> None:
    """A message that comes after the end of the workflow, before its steps are stopped."""
    child = execution(process, "#.runs")
    # As if whoever ended it had been killed just after.
    Process.objects.filter(pk=process.pk).update(status=Status.CANCELLED, finished_at=timezone.now(), expires_at=None)
    assert claiming.claim(str(child.key), task_id=child.task_id) is None
    assert fresh(child).executions == 0
    Process.objects.filter(pk=process.pk).update(status=Status.RUNNING, finished_at=None)
    cancel(process)


def test_fault_52_a_step_past_the_deadline_is_not_begun(process: Process) -> None:
    """Nobody has stored the expiry yet."""
    child = execution(process, "#.runs")
    Process.objects.filter(pk=process.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claiming.claim(str(child.key), task_id=child.task_id) is None
    sweep()
    assert fresh(child).status == Status.CANCELLED


def test_a_step_that_ends_past_the_deadline(process: Process) -> None:
    executing = take(process, "#.runs")
    Process.objects.filter(pk=process.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    settle(executing, lambda step: None)
    assert fresh(process).status == Status.EXPIRED
    assert statuses(process)["#.runs"] == StepStatus.CANCELLED


def test_the_sweep_stops_what_is_left(define: Define) -> None:
    many = AT_ONCE + 10
    workflow = define()
    workflow.step(name="load", each=lambda results: list(range(many)))(lambda step, item: None)
    process = workflow.start()
    execute(process, "#.load")
    running = take(process, f"#.load[{many - 1}]")
    cancel(process)
    active = Process.objects.filter(parent=process).active()
    assert active.count() == 10
    assert running.process_id not in active.values_list("pk", flat=True), "those that run are stopped first"
    sweep()
    assert not active.exists()
    check_invariants(settled=True)


def test_a_workflow_is_removed_with_its_steps(process: Process) -> None:
    take(process, "#.runs")
    cancel(process)
    fresh(process).remove()
    assert not Process.objects.exists()


def test_one_step_cancelled_by_itself(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", on_failure="continue")(lambda step: None)
    workflow.step(name="b")(lambda step: None)
    process = workflow.start()
    execution(process, "#.a").cancel()
    assert statuses(process) == {"#.a": StepStatus.CANCELLED, "#.b": StepStatus.QUEUED}
    executing = take(process, "#.b")
    assert execution(process, "#.b").cancel() is False
    stopped = settle(executing, lambda step: step.checkpoint())
    assert isinstance(stopped, ProcessStopped)
    assert fresh(process).status == Status.FAILED


def test_a_step_whose_worker_is_lost(process: Process) -> None:
    take(process, "#.runs")
    run_out()
    sweep()
    assert fresh(process).status == Status.FAILED
    assert step(process, "#.runs").error == "The worker was lost."
    assert execution(process, "#.waits").status == Status.CANCELLED


def test_a_step_that_is_tried_again_after_a_loss(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", max_attempts=2)(lambda step: step.executions)
    process = workflow.start()
    late = take(process, "#.a")
    run_out()
    sweep()
    assert drain(process).result == 2
    # The one that was taken for dead comes back, and changes nothing.
    with inside(late) as child, pytest.raises(ProcessStopped):
        child.succeed("late")
    assert fresh(process).result == 2


def leave_behind(define: Define, *, parts: int = 1) -> Process:
    """End a workflow as if whoever did had been killed before its steps were stopped."""
    workflow = define()
    for number in range(parts):
        workflow.step(name=f"s{number}", after=[])(lambda step: None)
    process = workflow.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(advancing, "wind_up", lambda process: False)
        process.cancel()
    Process.objects.filter(parent=process).update(due_at=timezone.now() - timedelta(seconds=1))
    return process


def test_what_is_over_is_not_published(define: Define, engine: Any) -> None:
    process = leave_behind(define)
    child = execution(process, "#.s0")
    waiting = start()
    Process.objects.filter(pk=waiting.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    assert list(Process.objects.due()) == [waiting]
    engine.published.clear()
    assert sweep() == {"published": 1, "stopped": 1}
    assert engine.published == [waiting.task_id]
    assert fresh(child).status == Status.CANCELLED


def test_messages_come_before_what_is_over(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_progress import sweep as module

    done: list[str] = []
    monkeypatch.setattr(module, "publish", lambda process: not done.append("published"))
    monkeypatch.setattr(module, "stop", lambda step: not done.append("stopped"))
    process = leave_behind(define)
    waiting = start()
    Process.objects.filter(pk=waiting.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    module.sweep()
    assert done == ["published", "stopped"]
    monkeypatch.undo()
    sweep()
    assert not Process.objects.filter(parent=process).active().exists()


def test_the_sweep_reads_what_it_needs(define: Define) -> None:
    leave_behind(define, parts=3)
    waiting = start()
    Process.objects.filter(pk=waiting.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    with CaptureQueriesContext(connection) as captured:
        sweep()
    lists = [query["sql"] for query in captured if "LIMIT 200" in query["sql"] or "task_options" in query["sql"]]
    messages = [sql for sql in lists if "publish_count" in sql and "SELECT" in sql and "message_pairs" not in sql]
    orphans = [sql for sql in lists if "INNER JOIN" in sql and "attempt_token" in sql and "LIMIT 200" in sql]
    assert len(messages) == 1
    assert len([sql for sql in orphans if '"result"' not in sql and "`result`" not in sql and "parent_id" in sql]) == 1
