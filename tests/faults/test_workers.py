"""Faults 1 to 5 and 15: what can happen to a worker while it executes a body."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django_celery_results.models import TaskResult

from django_progress import errors
from django_progress.models import Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests import private
from tests.faults import tasks
from tests.faults.journal import Journal
from tests.faults.watching import ended, is_gone, messages, outcomes, wait_for_beat
from tests.workers import Broker, run_worker, wait_until

pytestmark = [
    pytest.mark.worker, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick"),
]  # fmt: skip


@pytest.mark.parametrize("task", [tasks.work, tasks.work_returned], ids=["acknowledged", "returned"])
def test_fault_01_child_killed(broker: Broker, journal: Journal, agree: Callable[..., None], task: Any) -> None:
    """Celery calls the task failed, or hands its message out once more: the lease alone decides."""
    agree(REPUBLISH_AFTER=5)  # What Celery hands to a child that is gone already comes again.
    process = task.using(max_attempts=2).start(None, str(journal))
    with run_worker(broker, concurrency=1, patience=0) as worker:
        os.kill(journal.wait_for_run(1), signal.SIGKILL)
        journal.wait_for_run(2)
        if task is tasks.work:
            failure = TaskResult.objects.filter(task_id=process.task_id, status="FAILURE")
            wait_until(failure.exists, what="Celery's own verdict")
        else:
            message = f"{process.task_id}] received"
            wait_until(lambda: worker.output.count(message) == 2, what="the message to come again")
        assert Process.objects.get().status == Status.RUNNING
        journal.open(2)
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["lost", "succeeded"]
    assert journal.runs == [1, 2]


@pytest.mark.parametrize("broker", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
def test_fault_02_worker_killed(broker: Broker, journal: Journal) -> None:
    """The broker would hand the message out again in an hour; the lease takes a second."""
    process = tasks.work_late.using(max_attempts=2).start(None, str(journal))
    with run_worker(broker, concurrency=1) as first:
        journal.wait_for_run(1)
        first.kill()
        wait_until(lambda: not first.is_alive(), what="the worker to be gone")
    journal.open(2)
    with run_worker(broker, concurrency=1, patience=0):
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["lost", "succeeded"]
    assert journal.runs == [1, 2]


def test_fault_03_killed_on_every_attempt(broker: Broker, journal: Journal, agree: Callable[..., None]) -> None:
    agree(REPUBLISH_AFTER=5)
    process = tasks.work_returned.using(max_attempts=3, lease=0.6).start(None, str(journal))
    with run_worker(broker, concurrency=1, patience=0, env={"DJANGO_PROGRESS_FAILPOINTS": "claim.done=kill"}):
        assert ended(process).status == Status.FAILED
        assert process.error == errors.LOST
        wait_until(lambda: messages(broker) == 0, what="the last message to be taken")
    assert outcomes(process) == ["lost"] * 3
    assert sweep()["published"] == 0


@pytest.mark.parametrize(
    ("signals", "remap"),
    [
        ([signal.SIGTERM], ""),
        ([signal.SIGTERM, signal.SIGQUIT], ""),
        ([signal.SIGTERM], "SIGQUIT"),
    ],
    ids=["soft", "soft_then_cold", "cold"],
)
def test_fault_04_told_to_end(
    broker: Broker, journal: Journal, agree: Callable[..., None], signals: list[signal.Signals], remap: str
) -> None:
    """Soft: it works on, and beats. Cold: lost, which is no failure of the body, and tried again.

    It settles that itself, unless Celery is faster to kill it; then the lease does. That the
    worker ends after that is Celery's affair, and isn't waited for.
    """
    # The worker that ends may still have taken the message of the second attempt.
    agree(REPUBLISH_AFTER=1)
    soft = signals == [signal.SIGTERM] and not remap
    process = tasks.work.using(max_attempts=2).start(None, str(journal))
    with run_worker(broker, concurrency=1, patience=0, env={"REMAP_SIGTERM": remap}) as first:
        child = journal.wait_for_run(1)
        for number in signals:
            first.send(number)
            cold = remap or number is signal.SIGQUIT
            first.wait_for_output("Hitting Ctrl+C again" if cold else "Warm shutdown")
        if soft:
            wait_for_beat(process)
            journal.open(1)
            assert ended(process).status == Status.SUCCEEDED
            assert journal.runs == [1]
            return
        assert journal.wait_for("stopped", 1) == "SystemExit"
        wait_until(lambda: is_gone(child), timeout=60, what="the child to end")
        process.refresh_from_db()
        assert process.is_active
    journal.open(2)
    with run_worker(broker, concurrency=1, patience=0):
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["lost", "succeeded"]


def test_fault_05_stopped_past_the_lease(broker: Broker, journal: Journal) -> None:
    process = tasks.work.using(max_attempts=2).start(None, str(journal))
    with run_worker(broker, concurrency=1, patience=0) as old:
        journal.wait_for_run(1)
        # All of it: its parent would fetch the second attempt's message for a child that can't take it.
        old.send(signal.SIGSTOP, group=True)
        with run_worker(broker, concurrency=1, patience=0):
            journal.wait_for_run(2)
            journal.open(1)
            old.send(signal.SIGCONT, group=True)
            # The new one is in the middle of it: the token alone tells the two apart.
            assert journal.wait_for("stopped", 1) == "ProcessSuperseded"
            assert Process.objects.get().status == Status.RUNNING
            journal.open(2)
            assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["lost", "succeeded"]
    assert [event.name for event in process.milestones] == ["started", "execution-2"]


def test_fault_15_result_backend_dead(broker: Broker, journal: Journal) -> None:
    """Celery is still trying to store its result when ours is already there."""
    process = tasks.work.start(None, str(journal))
    journal.open(1)
    nowhere = f"redis://127.0.0.1:{private.refused_port()}/0"
    with run_worker(broker, concurrency=1, patience=0, env={"CELERY_RESULT_BACKEND": nowhere}) as worker:
        assert ended(process).status == Status.SUCCEEDED
        assert process.result == "done"
        assert "] succeeded in" not in worker.output


def test_fault_15_result_ignored(broker: Broker, journal: Journal) -> None:
    process = tasks.work_unrecorded.start(None, str(journal))
    journal.open(1)
    with run_worker(broker, pool="solo", patience=0):
        assert ended(process).status == Status.SUCCEEDED
        assert process.result == "done"
