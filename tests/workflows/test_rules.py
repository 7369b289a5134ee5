"""What is executed when, with what, and what becomes of its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy

from django_progress import execution as executions
from django_progress.exceptions import ProgressError, RetryNotPossible
from django_progress.models import Process, Step
from django_progress.retention import prune
from django_progress.status import Outcome, Status, StepStatus
from django_progress.workflows import Results, Workflow
from tests.executing import claim, fresh, inside, last_attempt, run_out, types
from tests.invariants import check_invariants
from tests.workflows.driving import body, drain, execute, execution, log, queued, statuses, step, take

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]


@pytest.fixture(autouse=True)
def invariants(db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


def nothing(step: Process) -> None:
    """Do nothing."""


def boom(step: Process) -> None:
    raise RuntimeError("secret")


# Order


def test_root_steps_run_in_the_order_of_their_definition(define: Define) -> None:
    workflow = define()
    for name in "abc":
        workflow.step(name=name)(nothing)
    process = workflow.start()
    for name in "abc":
        assert queued(process) == [f"#.{name}"]
        execute(process, f"#.{name}")
    assert fresh(process).status == Status.SUCCEEDED


def test_after_says_otherwise(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    workflow.step(name="b", after=[])(nothing)
    workflow.step(name="c", after=["a", "b"])(nothing)
    process = workflow.start()
    assert queued(process) == ["#.a", "#.b"]
    execute(process, "#.b")
    assert queued(process) == ["#.a"]
    execute(process, "#.a")
    assert queued(process) == ["#.c"]


def test_children_run_after_their_parent_and_beside_their_siblings(define: Define) -> None:
    workflow = define()
    parent = workflow.step(name="parent")(nothing)
    one = parent.step(name="one")(nothing)
    parent.step(name="two")(nothing)
    parent.step(name="three", after=["one"])(nothing)
    one.step(name="inner")(nothing)
    workflow.step(name="last")(nothing)
    process = workflow.start()
    assert queued(process) == ["#.parent"]
    execute(process, "#.parent")
    assert queued(process) == ["#.parent.one", "#.parent.two"]
    execute(process, "#.parent.one", "#.parent.two")
    # A step is complete when its own steps are: "three" waits for "inner", and "last" for all of them.
    assert queued(process) == ["#.parent.one.inner"]
    execute(process, "#.parent.one.inner")
    assert queued(process) == ["#.parent.three"]
    execute(process, "#.parent.three")
    assert queued(process) == ["#.last"]
    execute(process, "#.last")
    assert fresh(process).status == Status.SUCCEEDED


# Arguments and results


def test_arguments_and_results_by_name(define: Define) -> None:
    workflow = define()

    @workflow.step
    def first(step: Process, a: int, *, b: int = 2) -> int:
        return a + b

    @workflow.step
    def second(step: Process, results: Results, **others: Any) -> dict[str, Any]:
        return {"first": results["first"], "by_path": results["#.first"], "others": others, "names": list(results)}

    process = drain(workflow.start(None, a=1, c=3))
    assert step(process, "#.first").result == 3
    found = {"first": 3, "by_path": 3, "others": {"a": 1, "c": 3}, "names": ["first"]}
    assert step(process, "#.second").result == found
    assert fresh(process).result == found, "that of the last step"


def test_results_that_are_not_there(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    workflow.step(name="b")(nothing)
    process = workflow.start()
    execute(process, "#.a")
    results = Results(process.pk, "default")
    assert results["a"] is None
    assert "b" not in results
    assert (len(results), repr(results)) == (1, "<Results of a>")
    with pytest.raises(KeyError, match="has not ended; name it in after="):
        results["b"]
    with pytest.raises(KeyError, match="There is no step 'c'; there are a, b"):
        results["c"]


def test_results_are_read_when_they_are_asked_for(define: Define, django_assert_num_queries: Any) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: "large")
    process = drain(workflow.start())
    with django_assert_num_queries(1):
        results = Results(process.pk, "default")
        assert results["a"] == results["a"] == "large"


def test_a_result_that_the_workflow_was_given_stays(define: Define) -> None:
    workflow = define()

    @workflow.step
    def only(step: Process) -> str:
        assert step.parent is not None
        step.parent.set_result("its own")
        return "the step's"

    assert drain(workflow.start()).result == "its own"


# Conditions


def test_a_condition_is_asked_once_and_stored(define: Define) -> None:
    asked = []

    def when(results: Results) -> bool:
        asked.append(results["a"])
        return False

    workflow = define()
    workflow.step(name="a")(lambda step: 3)
    workflow.step(name="b", when=when)(boom)
    process = drain(workflow.start())
    assert process.status == Status.SUCCEEDED
    row = step(process, "#.b")
    assert (row.status, row.condition, row.result, row.fraction) == (StepStatus.SKIPPED, False, None, 1)
    assert asked == [3]
    assert log(process, "#.b") == ["#.b is skipped: its condition is not met."]


def test_another_attempt_does_not_ask_again(define: Define) -> None:
    asked: list[bool] = []

    def when(results: Results) -> bool:
        asked.append(True)
        return len(asked) == 1

    workflow = define()
    workflow.step(name="a", when=when, max_attempts=2)(lambda step: boom(step) if step.attempt_number == 1 else None)
    process = workflow.start()
    execute(process, "#.a", "#.a")
    assert (fresh(process).status, len(asked)) == (Status.SUCCEEDED, 1)


def test_fault_49_a_condition_that_raises_fails_the_step(define: Define) -> None:
    """At once, however many attempts it has, and with the traceback for staff."""
    workflow = define()
    workflow.step(name="a", when=lambda results: results["nowhere"], max_attempts=5)(nothing)
    process = workflow.start()
    execute(process, "#.a")
    row = fresh(process)
    assert (row.status, row.error) == (Status.FAILED, "Something went wrong on our side.")
    assert "There is no step 'nowhere'" in row.error_detail
    assert row.event_set.get(type="failed", details__step="#.a")
    assert step(process, "#.a").status == StepStatus.FAILED
    assert execution(process, "#.a").executions == 1


def test_fault_49_a_condition_that_raises_in_a_step_that_may_fail(define: Define) -> None:
    """With the other policy."""
    workflow = define()
    workflow.step(name="a", when=lambda results: 1 / 0, on_failure="continue")(nothing)
    workflow.step(name="b")(nothing)
    process = drain(workflow.start())
    assert (process.status, process.messages) == (Status.SUCCEEDED, [("Failed", "#.a")])


def test_fault_50_a_skipped_step_that_feeds_a_join(define: Define) -> None:
    """It counts as done, its result is None, and its own steps are skipped with it."""
    workflow = define()
    workflow.step(name="a", after=[])(lambda step: 1)
    skipped = workflow.step(name="b", after=[], when=lambda results: False)(boom)
    child = skipped.step(name="child")(boom)
    child.step(name="grandchild")(boom)

    @workflow.step(after=["a", "grandchild", "b"])
    def join(step: Process, results: Results) -> list[Any]:
        return [results["a"], results["b"], results["child"], results["grandchild"]]

    process = workflow.start()
    execute(process, "#.b")
    assert statuses(process, StepStatus.SKIPPED) == dict.fromkeys(
        ["#.b", "#.b.child", "#.b.child.grandchild"], StepStatus.SKIPPED
    )
    execute(process, "#.a")
    assert queued(process) == ["#.join"]
    execute(process, "#.join")
    assert fresh(process).result == [1, None, None, None]


def test_everything_skipped(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", when=lambda results: None)(boom)
    workflow.step(name="b", when=lambda results: 0, each=lambda results: [1])(lambda step, item: boom(step))
    process = drain(workflow.start())
    assert (process.status, process.result, process.percent) == (Status.SUCCEEDED, None, 100)


# In parallel


def test_a_sub_step_for_each_item(define: Define) -> None:
    workflow = define()
    workflow.step(name="check")(lambda step: ["a", "b", "c"])

    @workflow.step(each=lambda results: results["check"])
    def load(step: Process, chunk: str, number: int) -> str:
        return chunk * number

    load.step(name="index")(lambda step, results: "".join(results["load"]))
    process = workflow.start(None, number=2)
    execute(process, "#.check", "#.load")
    parts = [f"#.load[{number}]" for number in range(3)]
    assert queued(process) == parts
    assert statuses(process)["#.load"] == StepStatus.RUNNING
    execute(process, *reversed(parts))
    assert step(process, "#.load").result == ["aa", "bb", "cc"], "in the order of the items"
    assert queued(process) == ["#.load.index"]
    assert drain(process).result == ["aa", "bb", "cc"], "of the last step of the first level"
    assert step(process, "#.load.index").result == "aabbcc"
    assert Results(process.pk, "default")["#.load[1]"] == "bb"


def test_an_empty_list(define: Define) -> None:
    workflow = define()
    load = workflow.step(name="load", each=lambda results: [])(lambda step, item: boom(step))
    load.step(name="index")(lambda step, results: results["load"])
    process = drain(workflow.start())
    assert (process.status, process.result) == (Status.SUCCEEDED, [])
    assert step(process, "#.load.index").result == []


@pytest.mark.parametrize("items", ["abc", {"a": 1}, 3, None, [object()]])
def test_items_that_are_none(define: Define, items: Any) -> None:
    workflow = define()
    workflow.step(name="load", each=lambda results: items)(lambda step, item: None)
    process = drain(workflow.start())
    assert process.status == Status.FAILED
    assert "each= of the step 'load' " in process.error_detail


def test_a_worker_that_is_lost_while_items_are_listed(define: Define) -> None:
    """Nothing of the step has been done yet, so that another attempt is no second one."""
    workflow = define()
    workflow.step(name="load", each=lambda results: [1])(lambda step, item: item)
    process = workflow.start()
    take(process, "#.load")
    run_out()
    from django_progress.sweep import sweep

    sweep()
    assert last_attempt(execution(process, "#.load")).outcome == Outcome.LOST
    execute(process, "#.load", "#.load[0]")
    assert fresh(process).result == [1]


# What is written to its log


def test_lines_before_and_after(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: 28)

    @workflow.step(debug=lambda results: f"given {results['a']}", on_complete=lambda result: f"{result} rows")
    def b(step: Process, results: Results) -> int:
        step.log("working")
        return int(results["a"]) + 1

    process = drain(workflow.start())
    assert log(process, "#.b") == ["given 28", "working", "29 rows"]


def test_lines_that_can_not_be_made_do_not_fail_a_step(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", debug=lambda results: 1 / 0, on_complete=lambda result: result.nothing)(nothing)
    process = drain(workflow.start())
    assert process.status == Status.SUCCEEDED
    assert [line.partition("=")[0] for line in log(process, "#.a")] == ["debug", "on_complete"]


# Failures


def test_a_failure_ends_the_workflow(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", after=[])(boom)
    workflow.step(name="b", after=[])(nothing)
    workflow.step(name="c")(nothing)
    process = workflow.start()
    running = take(process, "#.b")
    execute(process, "#.a")
    row = fresh(process)
    assert (row.status, row.error) == (Status.FAILED, "Something went wrong on our side.")
    child = execution(process, "#.a")
    assert (row.error_reference, row.error_detail) == (child.error_reference, child.error_detail)
    assert statuses(process) == {"#.a": "failed", "#.b": "cancelled", "#.c": "inactive"}
    assert row.percent == 0, "a failure keeps what was done"
    assert running.process_id


def test_a_workflow_that_goes_on(define: Define) -> None:
    workflow = define()
    broken = workflow.step(name="broken", on_failure="continue")(boom)
    broken.step(name="child")(nothing)
    workflow.step(name="last")(lambda step, results: results["broken"])
    process = drain(workflow.start())
    assert (process.status, process.result) == (Status.SUCCEEDED, None)
    assert statuses(process) == {"#.broken": "failed", "#.broken.child": "skipped", "#.last": "succeeded"}
    assert process.messages == [("Failed", "#.broken")]
    assert [row.path for row in process.steps.failed()] == ["#.broken"]


def test_sub_steps_that_may_fail(define: Define) -> None:
    workflow = define()

    @workflow.step(each=lambda results: list(range(14)), on_failure="continue")
    def load(step: Process, number: int) -> int:
        if number % 14:
            boom(step)
        return number

    process = drain(workflow.start())
    assert (process.status, process.result) == (Status.SUCCEEDED, [0, *[None] * 13])
    [(_, failed)] = process.messages
    assert failed == ", ".join(f"#.load[{number}]" for number in range(1, 11)) + " and 3 more"
    assert step(process, "#.load").parts_failed == 13


def test_a_sub_step_that_ends_it_is_counted(define: Define) -> None:
    workflow = define()
    workflow.step(name="load", each=lambda results: [1, 2])(lambda step, item: boom(step))
    process = drain(workflow.start())
    load = step(process, "#.load")
    assert (process.status, load.parts, load.parts_failed) == (Status.FAILED, 2, 1)


def test_attempts_are_a_steps_own(define: Define) -> None:
    workflow = define(max_attempts=3, retry_delay=timedelta(minutes=1))
    workflow.step(name="a", max_attempts=2, retry_delay=0, timeout=30, queue="slow")(boom)
    workflow.step(name="b")(nothing)
    process = workflow.start()
    child = execution(process, "#.a")
    assert (child.max_attempts, child.retry_delay, child.attempt_timeout, child.queue) == (2, 0, 30, "slow")
    execute(process, "#.a")
    assert (fresh(process).status, statuses(process)["#.a"]) == (Status.RUNNING, StepStatus.RUNNING)
    execute(process, "#.a")
    assert fresh(process).status == Status.FAILED
    assert step(process, "#.b").options["max_attempts"] == 3


def test_a_step_may_hand_on(define: Define) -> None:
    workflow = define()

    @workflow.step(on_complete=lambda result: f"all: {result}")
    def twice(step: Process) -> str | None:
        if step.last_milestone.name == "started":
            step.milestone("half")
            step.requeue()
            return None
        return "whole"

    process = drain(workflow.start())
    assert (process.status, process.result) == (Status.SUCCEEDED, "whole")
    assert log(process, "#.twice") == ["all: whole"]


def test_a_step_that_ends_itself(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: step.succeed({"early": True}))
    workflow.step(name="b", on_failure="continue")(lambda step: step.fail("No such file."))
    process = drain(workflow.start())
    assert step(process, "#.a").result == {"early": True}
    assert step(process, "#.b").error == "No such file."


# Progress


def test_progress_is_the_weighted_mean(define: Define, django_assert_num_queries: Any) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    workflow.step(name="b", weight=3, each=lambda results: [1, 2])(lambda step, item: None)
    process = workflow.start()
    assert fresh(process).percent == 0
    execute(process, "#.a", "#.b")
    assert fresh(process).percent == 25
    execute(process, "#.b[1]")
    assert fresh(process).percent == 62.5
    assert step(process, "#.b").fraction == 0.5
    with django_assert_num_queries(1):
        assert fresh(process).percent == 62.5
    execute(process, "#.b[0]")
    assert fresh(process).percent == 100


def test_reports_move_the_bar(define: Define, django_capture_on_commit_callbacks: Any) -> None:
    workflow = define()
    workflow.step(name="a", weight=1)(nothing)
    workflow.step(name="b", weight=1, after=[], max_attempts=2)(nothing)
    process = workflow.start()
    execute(process, "#.a")
    running = take(process, "#.b")
    before = fresh(process).revision
    with inside(running) as child, django_capture_on_commit_callbacks(execute=True):
        child.set_progress(5, 10)
        child.checkpoint()
    assert (fresh(process).percent, step(process, "#.b").fraction) == (75, 0.5)
    assert fresh(process).revision > before
    # Another attempt starts over; the workflow's bar doesn't.
    executions.current.set(None)
    run_out()
    from django_progress.sweep import sweep

    sweep()
    with inside(claim(execution(process, "#.b"))) as child, django_capture_on_commit_callbacks(execute=True):
        child.set_progress(1, 10)
        child.checkpoint()
    assert fresh(process).percent == 75


def test_steps_without_weight(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", weight=0)(nothing)
    process = workflow.start()
    assert fresh(process).percent is None
    assert (drain(process).status, fresh(process).percent) == (Status.SUCCEEDED, None)


# As a process


def test_a_workflow_is_one_process(define: Define, admin_user: Any) -> None:
    workflow = define("one-process", description=gettext_lazy("Yes"), success_url="/done/", lease=20)
    workflow.step(name="a", description=gettext_lazy("No"))(nothing)
    process = workflow.using(context={"upload": 3}).start(admin_user)
    child = execution(process, "#.a")
    assert list(Process.objects.whole()) == [process]
    assert list(Process.objects.owned_by(admin_user)) == [process]
    assert (child.parent, child.kind, child.lease) == (process, "one-process", 20)
    assert process.context == {"upload": 3}
    with translation.override("de"):
        assert (process.title, child.title, step(process, "#.a").title) == ("Ja", "Nein", "Nein")
    row = drain(process)
    assert (row.owner, row.finished_url) == (admin_user, "/done/")
    assert types(row) == ["milestone", "step", "succeeded"]
    assert row.event_set.get(type="step", details__path="#.a", details__status="succeeded")


def test_it_is_started_once_for_a_key(define: Define, admin_user: Any) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    again = workflow.using(idempotency_key="one")
    assert again.start(admin_user) == again.start(admin_user)
    assert Step.objects.count() == 1


def test_trying_a_workflow_again(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step, number: number / 0)
    process = drain(workflow.start(None, number=3))
    again = process.retry()
    assert (again.retry_of, again.task_kwargs, again.percent) == (process, {"number": 3}, 0)
    assert queued(again) == ["#.a"]
    with pytest.raises(RetryNotPossible, match="retry the whole workflow"):
        execution(process, "#.a").retry()


def test_what_is_kept(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", each=lambda results: [1, 2])(lambda step, item: None)
    process = workflow.start()
    execute(process, "#.a", "#.a[0]")
    assert prune(0) == 0, "its steps have no age of their own"
    with pytest.raises(ProgressError, match="remove the workflow's process"):
        execution(process, "#.a").remove()
    drain(process)
    assert prune(0) == 1
    assert not Process.objects.exists()
    assert not Step.objects.exists()


def test_a_step_that_is_gone_from_the_code(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(nothing)
    process = workflow.start()
    workflow.graph._paths.clear()
    executing = take(process, "#.a")
    from tests.executing import settle

    settle(executing, body)
    assert fresh(process).status == Status.FAILED
    assert "has no step 'a' any more" in fresh(process).error_detail
