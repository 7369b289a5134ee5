"""Processes from start to end with a real worker: the examples of the contract, cancelling, and a kill."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_celery_results.models import TaskResult

from django_progress.models import Process
from django_progress.status import Status
from tests.travel import tasks
from tests.workers import BROKERS, Broker, run_worker, wait_until

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]


def ended(process: Process, timeout: float = 30) -> Process:
    """Wait until the row says that it is over. Reads only: nobody but the worker stores an expiry."""

    def look() -> bool:
        process.refresh_from_db()
        return process.finished_at is not None

    wait_until(look, timeout=timeout, what=f"{process.kind or process.task_name} to end")
    return process


@pytest.mark.parametrize("broker", BROKERS, indirect=True)
def test_examples(broker: Broker, client: Client, tmp_path: Path) -> None:
    client.force_login(User.objects.create_user("ann"))
    with run_worker(broker, patience=0):
        # Nothing else happens, and nobody looks: the worker's sweep ends it.
        courier = Process.objects.start("Waiting for the courier…", max_duration=1.5, redirect_url="/parcels/")
        waiting = client.post("/flights/search/", {"query": "flight #1234"})["Location"]
        search = Process.objects.get(kind="flight-search")
        connecting = tasks.connect.using(retry_delay=0.2).start(None, str(tmp_path / "calls"))
        # No attempt is left to come before the deadline.
        hopeless = tasks.connect.using(retry_delay=1, max_duration=5).start(None, "unreachable")
        counting = tasks.import_rows.start(None, upload_id=3)

        assert ended(search).result == ["via Lisbon"]
        assert search.status == Status.SUCCEEDED
        assert [event.name for event in search.milestones] == ["started", "ours", "partners"]
        assert [attempt.outcome for attempt in search.attempts] == ["requeued", "succeeded"]
        assert client.get(waiting).headers["Location"] == f"/flights/results/{search.key}/"
        for attempt in search.attempts:
            wait_until(TaskResult.objects.filter(task_id=attempt.task_id, status="SUCCESS").exists, what="a result")

        assert ended(counting).current == 250
        assert ended(connecting).status == Status.SUCCEEDED
        assert [attempt.outcome for attempt in connecting.attempts] == ["failed", "failed", "succeeded"]
        assert ended(hopeless).status in (Status.FAILED, Status.EXPIRED)
        assert 1 < hopeless.attempts.count() < 50
        assert ended(courier).status == Status.EXPIRED
        assert courier.finished_url == "/parcels/"


def test_cancel_stops_a_body_that_swallows_exceptions(broker: Broker) -> None:
    process = tasks.patient.start()
    with run_worker(broker, patience=0):
        wait_until(lambda: Process.objects.get().status == Status.RUNNING, what="the task to run")
        assert process.cancel() is False
        assert ended(process).status == Status.CANCELLED
        assert process.attempts.get().outcome == "cancelled"


def test_message_of_a_cancelled_process_runs_nothing(broker: Broker, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    process = tasks.patient.start(None, 0, touch=str(touched))
    assert process.cancel() is True
    with run_worker(broker, patience=0):
        assert ended(tasks.nightly.start()).status == Status.SUCCEEDED
    assert not touched.exists()


def test_killed_worker_is_noticed_and_the_work_done_again(broker: Broker, tmp_path: Path) -> None:
    """The pool's process and its worker are killed; the lease runs out, and another worker's sweep goes on."""
    touched = tmp_path / "touched"
    quick: dict[str, Any] = {"max_attempts": 2, "lease": 2}
    process = tasks.patient.using(**quick).start(None, 60, touch=str(touched))
    with run_worker(broker, concurrency=1) as worker:
        wait_until(touched.exists, what="the body to begin")
        worker.send(signal.SIGKILL, group=True)
        wait_until(lambda: not worker.is_alive(), what="the worker to be gone")
    with run_worker(broker, concurrency=1, patience=0):
        wait_until(lambda: touched.read_text() == "1\n2\n", what="the second attempt")
        process.refresh_from_db()
        assert [attempt.outcome for attempt in process.attempts] == ["lost", ""]
        process.cancel()
        assert ended(process).status == Status.CANCELLED


def test_attempt_that_was_stopped_too_long_changes_nothing(broker: Broker, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    process = tasks.patient.using(lease=1.5, max_attempts=2).start(None, 4, touch=str(touched))
    with run_worker(broker, concurrency=1, patience=0) as first:
        wait_until(touched.exists, what="the body to begin")
        # All of it: its parent would fetch the second attempt's message for a child that can't take it.
        first.send(signal.SIGSTOP, group=True)
        with run_worker(broker, concurrency=1, patience=0):
            wait_until(lambda: touched.read_text() == "1\n2\n", what="the second attempt")
            first.send(signal.SIGCONT, group=True)
            assert ended(process).status == Status.SUCCEEDED
    assert [attempt.outcome for attempt in process.attempts] == ["lost", "succeeded"]
    assert process.event_set.filter(type="succeeded").count() == 1
