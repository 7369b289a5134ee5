"""From a message to an execution, and what the end of a body means (decision 6)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from django_progress import claiming, dispatch
from django_progress.exceptions import ProcessCancelled, ProcessExpired, ProcessSuperseded, ProgressError
from django_progress.models import Attempt, Process
from django_progress.status import Outcome, Status
from tests.executing import claim, execute, fresh, inside, last_attempt, settle, start, types
from tests.invariants import check_invariants
from tests.unit.conftest import FakeEngine

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def invariants(db: None, engine: FakeEngine) -> Iterator[None]:
    yield
    check_invariants()


def boom(process: Process) -> None:
    raise RuntimeError("secret detail")


# Messages


def test_claim_makes_an_attempt() -> None:
    process = start(attempt_timeout=30, lease=20)
    executing = claim(process, worker="w1@host")
    row, attempt = fresh(process), last_attempt(process)
    assert (row.status, row.attempt_number, row.executions) == (Status.RUNNING, 1, 1)
    assert row.attempt_token == attempt.token == executing.token
    assert row.started_at is not None
    assert (row.due_at, row.next_attempt_at) == (None, None)
    assert (attempt.number, attempt.task_id, attempt.worker) == (1, process.task_id, "w1@host")
    assert attempt.lease_until is not None
    assert attempt.timeout_at is not None
    assert (attempt.lease_until - attempt.started_at).total_seconds() == 20
    assert (attempt.timeout_at - attempt.started_at).total_seconds() == 30
    assert types(process) == ["milestone", "attempt"]


def refused(process: Process, task_id: str | None = None, **options: Any) -> bool:
    before = Process.objects.values().get(pk=process.pk)
    executing = claiming.claim(str(process.key), task_id=task_id or process.task_id, **options)
    after = Process.objects.values().get(pk=process.pk)
    return executing is None and before == after


def test_a_message_counts_once() -> None:
    process = start()
    executing = claim(process)
    assert refused(process)
    settle(executing, lambda p: None)
    assert refused(process)
    assert fresh(process).executions == 1


def test_a_message_of_another_execution_is_stale() -> None:
    process = start()
    assert refused(process, task_id="another")
    execute(process, lambda p: p.requeue())
    assert refused(process, task_id=process.task_id)
    assert claim(process)


def test_an_early_message_waits_for_its_time() -> None:
    process = start()
    execute(process, lambda p: p.requeue(delay=60))
    row = fresh(process)
    assert row.next_attempt_at is not None
    assert 55 < (row.next_attempt_at - timezone.now()).total_seconds() < 65
    assert refused(row)
    # Eager execution skips delays.
    assert claiming.claim(str(row.key), task_id=row.task_id, delayed=False) is not None


@pytest.mark.parametrize("key", [str(uuid4()), "not a uuid", ""])
def test_a_message_for_nobody_is_logged_once(key: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "django_progress"):
        assert claiming.claim(key, task_id="x") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("end", ["succeed", "cancel", "expire"])
def test_a_message_for_a_finished_process_is_ignored(end: str) -> None:
    process = start()
    getattr(process, end)()
    assert refused(process)


def test_a_message_after_the_deadline_stores_the_expiry() -> None:
    process = start(max_duration=20)
    Process.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert claiming.claim(str(process.key), task_id=process.task_id) is None
    assert fresh(process).status == Status.EXPIRED


def test_only_the_engine_is_told_and_only_after_the_commit(
    engine: FakeEngine, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        process = start(max_attempts=2)
        assert engine.published == []
    assert engine.published == [process.task_id]
    with django_capture_on_commit_callbacks(execute=True):
        execute(process, boom)
    assert engine.published == [process.task_id, fresh(process).task_id]
    assert len(set(engine.published)) == 2
    with django_capture_on_commit_callbacks(execute=True):
        execute(process, lambda p: p.requeue(delay=5))
    assert len(engine.published) == 2  # a delay is on the row, not on the broker


# What the end of a body means


def test_a_value_is_the_result() -> None:
    process = start()
    assert execute(process, lambda p: {"found": 3}) is None
    assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, {"found": 3})
    assert last_attempt(process).outcome == Outcome.SUCCEEDED


@pytest.mark.parametrize("value", [0, False, "", [], {}])
def test_a_false_value_is_a_result_too(value: Any) -> None:
    process = start()
    execute(process, lambda p: value)
    assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, value)


def test_none_keeps_what_was_set() -> None:
    process = start()
    execute(process, lambda p: p.set_result("kept"))
    assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, "kept")


def test_a_value_replaces_what_was_set() -> None:
    process = start()
    execute(process, lambda p: p.set_result("set") or "returned")
    assert fresh(process).result == "returned"


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"x", "x" * 2_000_000])
def test_a_value_that_can_not_be_stored_becomes_a_marked_summary(value: Any) -> None:
    process = start()
    assert execute(process, lambda p: value) is None
    row = fresh(process)
    assert row.status == Status.SUCCEEDED
    assert set(row.result) == {"not_stored", "type", "summary"}
    assert row.result["type"] == f"builtins.{type(value).__name__}"


def test_an_exception_fails_it() -> None:
    process = start()
    error = execute(process, boom)
    row, attempt = fresh(process), last_attempt(process)
    assert isinstance(error, RuntimeError)
    assert row.status == Status.FAILED
    assert "secret" not in row.error
    assert "secret detail" in row.error_detail
    assert (attempt.outcome, attempt.error, attempt.error_reference) == (
        Outcome.FAILED,
        row.error,
        row.error_reference,
    )
    assert "secret detail" in attempt.error_detail


def test_an_exception_is_tried_again_while_attempts_remain() -> None:
    process = start(max_attempts=3, retry_delay=5)
    for number in (1, 2):
        execute(process, boom, delayed=False)
        row = fresh(process)
        assert (row.status, row.attempt_number, row.attempt_token) == (Status.PENDING, number, "")
        assert row.next_attempt_at is not None
        assert row.due_at is not None
        assert row.due_at >= row.next_attempt_at
        assert row.error == ""
    execute(process, boom, delayed=False)
    assert fresh(process).status == Status.FAILED
    assert types(process)[-5:] == ["attempt_failed", "attempt", "attempt_failed", "attempt", "failed"]
    assert [attempt.outcome for attempt in process.attempts] == [Outcome.FAILED] * 3
    assert len({attempt.task_id for attempt in process.attempts}) == 3


def test_an_exception_fails_it_when_no_time_remains() -> None:
    process = start(max_attempts=3, retry_delay=60, max_duration=30)
    execute(process, boom)
    assert fresh(process).status == Status.FAILED


def test_it_may_succeed_at_a_later_attempt() -> None:
    process = start(max_attempts=3)
    execute(process, boom)
    execute(process, lambda p: "at last")
    row = fresh(process)
    assert (row.status, row.result, row.error, row.attempt_number) == (Status.SUCCEEDED, "at last", "", 2)


def test_requeue_is_another_execution_and_counts_anew() -> None:
    process = start(max_attempts=2)
    execute(process, boom)
    execute(process, lambda p: p.milestone("second") or p.requeue())
    row = fresh(process)
    assert (row.status, row.attempt_number, row.executions) == (Status.PENDING, 0, 2)
    assert row.next_attempt_at is None
    assert last_attempt(process).outcome == Outcome.REQUEUED
    seen = []
    execute(process, lambda p: seen.append(p.last_milestone.name) or boom(p))
    assert fresh(process).status == Status.PENDING  # one attempt is left again
    execute(process, lambda p: seen.append(p.last_milestone.name))
    assert seen == ["second", "second"]
    assert fresh(process).status == Status.SUCCEEDED


def test_nothing_is_handed_over_before_the_body_returns() -> None:
    process = start()
    executing = claim(process)

    def body(process: Process) -> None:
        process.requeue()
        assert fresh(process).status == Status.RUNNING
        process.milestone("afterwards")

    settle(executing, body)
    assert fresh(process).status == Status.PENDING
    assert fresh(process).milestone_name == "afterwards"


def test_requeue_and_a_value_is_a_mistake() -> None:
    process = start()
    error = execute(process, lambda p: p.requeue() or "value")
    assert isinstance(error, TypeError)
    assert "requeue" in str(error)
    assert fresh(process).status == Status.FAILED


def test_requeue_and_an_exception_is_a_failed_attempt() -> None:
    process = start()
    execute(process, lambda p: p.requeue() or boom(p))
    assert fresh(process).status == Status.FAILED


def test_requeue_after_the_deadline_expires() -> None:
    process = start(max_duration=20)
    executing = claim(process)

    def body(process: Process) -> None:
        process.requeue()
        Process.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    settle(executing, body)
    assert fresh(process).status == Status.EXPIRED
    assert last_attempt(process).outcome == Outcome.EXPIRED


@pytest.mark.parametrize("delay", [-1, float("nan"), "5"])
def test_requeue_wants_seconds(delay: Any) -> None:
    process = start()
    error = execute(process, lambda p: p.requeue(delay=delay))
    assert isinstance(error, (TypeError, ValueError))
    assert "delay" in str(error)


def test_attempt_that_is_true() -> None:
    process = start(max_attempts=2)
    execute(process, lambda p: p.attempt(lambda: True) and None)
    assert fresh(process).status == Status.SUCCEEDED


@pytest.mark.parametrize("value", [False, None, 0, ""])
def test_attempt_that_is_false_is_tried_again(value: Any) -> None:
    process = start(max_attempts=2)
    execute(process, lambda p: p.attempt(lambda: value))
    assert fresh(process).status == Status.PENDING
    execute(process, lambda p: p.attempt(lambda: value) and None)
    row = fresh(process)
    assert (row.status, row.error_reference) == (Status.FAILED, "")
    assert row.error


def test_attempt_that_raises_is_tried_again() -> None:
    process = start(max_attempts=2)
    error = execute(process, lambda p: p.attempt(lambda: boom(p)))
    assert isinstance(error, RuntimeError)
    assert fresh(process).status == Status.PENDING


def test_a_failed_attempt_and_a_value_is_a_mistake() -> None:
    process = start()
    error = execute(process, lambda p: p.attempt(lambda: False) or "value")
    assert isinstance(error, TypeError)
    assert fresh(process).status == Status.FAILED


def test_a_body_is_asked_to_end_one_way_only() -> None:
    process = start()
    error = execute(process, lambda p: p.attempt(lambda: False) or p.requeue())
    assert isinstance(error, ProgressError)
    error = execute(start(), lambda p: p.requeue() or p.requeue())
    assert isinstance(error, ProgressError)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda p: p.succeed(1), Status.SUCCEEDED),
        (lambda p: p.fail("x"), Status.FAILED),
        (lambda p: p.cancel(force=True), Status.CANCELLED),
        (lambda p: p.expire(), Status.EXPIRED),
    ],
)
@pytest.mark.parametrize("then", [lambda p: None, lambda p: "value", boom])
@pytest.mark.parametrize("before", [lambda p: None, lambda p: p.requeue(), lambda p: p.attempt(lambda: False)])
def test_what_the_body_ended_is_over_whatever_else_it_does(
    before: Callable[..., Any], end: Callable[..., Any], then: Callable[..., Any], status: Status
) -> None:
    process = start(max_attempts=3)
    execute(process, lambda p: (before(p), end(p)) and then(p))
    row = fresh(process)
    assert row.status == status
    assert row.result == (1 if status == Status.SUCCEEDED else None)
    assert len(types(process)) == row.last_seq


def test_what_ended_it_from_outside_wins() -> None:
    process = start(max_attempts=3)
    executing = claim(process)
    fresh(process).succeed("from outside")
    assert isinstance(settle(executing, lambda p: p.milestone("x")), ProcessSuperseded)
    assert fresh(process).result == "from outside"
    assert last_attempt(process).outcome == Outcome.SUPERSEDED


def test_a_value_after_an_end_from_outside_is_nothing() -> None:
    for body in (lambda p: "value", lambda p: None, boom):
        process = start(max_attempts=3)
        executing = claim(process)
        fresh(process).fail("from outside")
        settle(executing, body)
        row = fresh(process)
        assert (row.status, row.error, row.result) == (Status.FAILED, "from outside", None)


def test_a_body_that_goes_on_after_a_report_was_refused_is_stopped_all_the_same() -> None:
    process = start()
    executing = claim(process)
    fresh(process).cancel(force=True)

    def body(process: Process) -> str:
        try:
            process.milestone("x")
        except BaseException:
            return "swallowed"
        return "not stopped"

    settle(executing, body)
    assert (fresh(process).status, fresh(process).result) == (Status.CANCELLED, None)


def test_an_end_that_was_rolled_back_is_none() -> None:
    def body(process: Process) -> None:
        with transaction.atomic():
            process.succeed("in vain")
            raise RuntimeError

    process = start()
    execute(process, body)
    assert fresh(process).status == Status.FAILED

    def careful(process: Process) -> str:
        try:
            body(process)
        except RuntimeError:
            process.milestone("recovered")
        return "in the end"

    process = start()
    execute(process, careful)
    assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, "in the end")


@pytest.mark.parametrize("stop", [ProcessExpired, ProcessSuperseded])
def test_a_body_that_says_it_was_stopped_and_was_not_has_failed(stop: type[BaseException]) -> None:
    def body(process: Process) -> None:
        raise stop

    process = start()
    execute(process, body)
    assert fresh(process).status == Status.FAILED


def test_a_body_may_cancel_itself() -> None:
    def body(process: Process) -> None:
        process.cancel()
        process.checkpoint()

    process = start()
    assert isinstance(execute(process, body), ProcessCancelled)
    assert fresh(process).status == Status.CANCELLED


def test_a_failed_attempt_is_not_repeated_when_cancelling_was_asked_for() -> None:
    process = start(max_attempts=5)
    execute(process, lambda p: fresh(p).cancel() or boom(p))
    assert fresh(process).status == Status.CANCELLED
    process = start(max_attempts=5)
    execute(process, lambda p: p.attempt(lambda: False) or fresh(p).cancel())
    assert fresh(process).status == Status.CANCELLED


def test_a_process_that_was_deleted_in_the_meantime_is_no_drama() -> None:
    for body in (lambda p: None, lambda p: p.milestone("x"), lambda p: p.requeue(), boom):
        process = start(max_attempts=2)
        executing = claim(process)
        Process.objects.all().delete()
        if body is boom:
            assert isinstance(settle(executing, body), RuntimeError)
        else:
            settle(executing, body)
        assert not Attempt.objects.exists()


def test_the_last_numbers_are_written_with_the_end() -> None:
    for body, status in ((lambda p: None, Status.SUCCEEDED), (boom, Status.FAILED)):
        process = start(total=10)

        def counting(process: Process, body: Callable[..., Any] = body) -> Any:
            for _ in range(4):
                process.advance()
            return body(process)

        execute(process, counting)
        row = fresh(process)
        assert (row.status, row.current, row.percent) == (status, 4, 40)


def test_nothing_executes_here_afterwards() -> None:
    process = start()
    executing = claim(process)
    with inside(executing):
        pass
    assert fresh(process)._execution() is None


# Which branch, and whose doing


def test_another_attempt_begins_at_the_same_milestone() -> None:
    """So that it takes the same branch, whatever the attempt before it had reached."""
    process = start(max_attempts=3)
    seen = []

    def body(p: Process) -> Any:
        seen.append(p.last_milestone.name)
        if p.last_milestone.name == "started":
            p.milestone("ours")
            if p.executions == 1:
                raise RuntimeError
            p.milestone("partners")
            return p.requeue()
        p.milestone("late")
        if p.attempt_number == 1:
            raise RuntimeError
        return "found"

    for _ in range(4):
        execute(process, body)
    assert seen == ["started", "started", "partners", "partners"]
    assert fresh(process).result == "found"


def test_a_stop_that_nobody_asked_for_is_a_failure() -> None:
    other = start()
    executing = claim(other)
    other.cancel()

    def body(p: Process) -> None:
        executing.process.log("which stops that one, not this one")

    process = start()
    execute(process, body)
    assert fresh(process).status == Status.FAILED
    dispatch.stopped(executing, ProcessCancelled())


def test_worker_that_is_told_to_end_is_not_the_bodys_failure() -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    dispatch.raised(executing, SystemExit(0))
    assert last_attempt(process).outcome == Outcome.LOST
    assert fresh(process).status == Status.PENDING
    executing = claim(process)
    dispatch.raised(executing, SystemExit(0))
    assert fresh(process).error == "The worker was lost."
