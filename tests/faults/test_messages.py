"""Faults 6 to 8, 12, 17 and 18: messages that come twice, too late, or for nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from django_celery_results.models import TaskResult

from django_progress.engines import get_engine
from django_progress.models import Process
from django_progress.starting import publish
from django_progress.status import Status
from tests.faults import tasks
from tests.faults.journal import Journal
from tests.faults.watching import KILLED, ended, messages, outcomes, run_program, sweep_until
from tests.workers import Broker, published_to, run_worker, wait_until

pytestmark = [
    pytest.mark.worker, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick"),
]  # fmt: skip

ON_REDIS = pytest.mark.parametrize("broker", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)


@ON_REDIS
def test_fault_06_longer_than_the_visibility_timeout(broker: Broker, journal: Journal) -> None:
    """The broker takes a healthy worker for dead and hands its message to the next."""
    broker = replace(broker, options={**broker.options, "visibility_timeout": 0.2})
    with published_to(broker):
        process = tasks.work_late.start(None, str(journal))
    with run_worker(broker, patience=0) as worker, broker.connection() as connection:
        journal.wait_for_run(1)

        def came_again() -> bool:
            # What each worker does every ten seconds.
            connection.default_channel.qos.restore_visible(interval=1)
            return worker.output.count("] received") == 2

        wait_until(came_again, timeout=60, what="the message to come again")
        wait_until(lambda: worker.output.count("] ignored") == 1, what="the second to leave")
        journal.open(1)
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["succeeded"]
    assert journal.runs == [1]


def test_fault_07_the_same_message_at_once(broker: Broker, journal: Journal, tmp_path: Path) -> None:
    processes = [tasks.work.start(None, f"{journal}-{number}") for number in range(2)]
    journals = [Journal(f"{journal}-{number}") for number in range(2)]
    for process, its in zip(processes, journals, strict=True):
        publish(process)
        its.open(1)
    gate = tmp_path / "gate"
    waiting = {"DJANGO_PROGRESS_FAILPOINTS": f"claim.before=wait:{gate}"}
    with run_worker(broker, concurrency=4, patience=0, env=waiting) as worker:
        wait_until(lambda: worker.output.count("] received") == 4, what="all messages to come")
        gate.touch()
        for process in processes:
            assert ended(process).status == Status.SUCCEEDED
        wait_until(lambda: worker.output.count("] ignored") == 2, what="the losers to leave")
        for process, its in zip(processes, journals, strict=True):
            assert its.runs == [1]
            # The loser's end does not overwrite what Celery knows of the winner.
            wait_until(TaskResult.objects.filter(task_id=process.task_id, status="SUCCESS").exists)


def test_fault_08_redelivered_after_success(broker: Broker, journal: Journal, tmp_path: Path) -> None:
    """The child dies between its commit and Celery's acknowledgement."""
    process = tasks.work_returned.using(max_attempts=2).start(None, str(journal))
    journal.open(1)
    kill = {"DJANGO_PROGRESS_FAILPOINTS": f"end.committed=kill@{tmp_path / 'once'}"}
    with run_worker(broker, concurrency=1, patience=0, env=kill) as worker:
        assert ended(process).status == Status.SUCCEEDED
        before = list(process.event_set.values("seq", "type", "happened_at")), process.revision
        wait_until(lambda: worker.output.count("] ignored") == 1, what="the message to come again")
        assert worker.output.count(f"{process.task_id}] received") == 2
    process.refresh_from_db()
    assert (list(process.event_set.values("seq", "type", "happened_at")), process.revision) == before
    assert outcomes(process) == ["succeeded"]
    assert journal.runs == [1]


def test_fault_12_killed_after_publishing(broker: Broker, journal: Journal, agree: Callable[..., None]) -> None:
    """Whoever starts it dies when its message is sent: it is sent again, and does nothing the second time."""
    agree(REPUBLISH_AFTER=0.5)
    program = f"from tests.faults.tasks import work; work.start(None, {str(journal)!r})"
    assert run_program(program, broker, {"DJANGO_PROGRESS_FAILPOINTS": "publish.sent=kill"}) == KILLED
    process = Process.objects.get()
    assert (process.status, messages(broker)) == (Status.PENDING, 1)
    sweep_until(broker, 2)
    agree(REPUBLISH_AFTER=60)
    journal.open(1)
    with run_worker(broker, patience=0) as worker:
        assert ended(process).status == Status.SUCCEEDED
        wait_until(lambda: worker.output.count("] ignored") == 1, what="the other message to be dropped")
    assert journal.runs == [1]


@ON_REDIS
def test_fault_17_nobody_knows_the_process(broker: Broker) -> None:
    unknown, purged = str(uuid4()), tasks.work_late.start(None, "nowhere")
    key, _deleted = str(purged.key), purged.delete()
    for number, named in enumerate((unknown, "no key at all")):
        get_engine().publish(tasks.work_late.name, task_id=f"id-{number}", key=named, options={})
    assert messages(broker) == 3
    with run_worker(broker, pool="solo", patience=0) as worker, broker.connection() as connection:
        wait_until(lambda: worker.output.count("] ignored") == 3, what="all to be dropped")
        for named in (unknown, key, "no key at all"):
            assert worker.output.count(f"A message names process {named}, which does not exist") == 1
        # Acknowledged: nothing is held back to be handed out again.
        redis = connection.default_channel.client
        wait_until(lambda: redis.hlen("unacked") == 0, what="the acknowledgements")
    assert messages(broker) == 0


def test_fault_18_cancelled_with_no_worker_up(broker: Broker, journal: Journal) -> None:
    process = tasks.work.start(None, str(journal))
    assert process.cancel() is True
    assert messages(broker) == 1
    journal.open(1)
    with run_worker(broker, pool="solo", patience=0) as worker:
        wait_until(lambda: worker.output.count("] ignored") == 1, what="the message to be dropped")
    assert journal.runs == []
    assert ended(process).status == Status.CANCELLED
