"""The heartbeat and the sweep in each of Celery's pools."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest

from django_progress.models import Attempt, Process
from django_progress.status import Status
from tests.faults import tasks
from tests.faults.journal import Journal
from tests.faults.watching import ended, outcomes
from tests.workers import Broker, run_worker, wait_until

pytestmark = [
    pytest.mark.worker, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick"),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "slots"), [("prefork", 2), ("threads", 2), ("solo", 1), ("gevent", 2)])
def test_a_silent_task_keeps_its_lease_and_a_killed_worker_loses_it(
    broker: Broker, tmp_path: Path, pool: str, slots: int
) -> None:
    if pool == "gevent":
        pytest.importorskip("gevent")
    journals = [Journal(tmp_path / f"journal {number}") for number in range(slots)]
    processes = [tasks.silent.using(max_attempts=2).start(None, str(journal.path)) for journal in journals]
    with run_worker(broker, pool=pool, concurrency=slots, patience=0) as worker:
        for journal in journals:
            journal.wait_for_run(1)
        leases = Attempt.objects.values_list("lease_until", flat=True)
        assert len(leases) == slots
        # Long enough for this worker's own sweep to have given them up, twice over.
        long_after = max(leases) + timedelta(seconds=2)
        wait_until(lambda: Process.objects.with_now()[0].now > long_after, timeout=60, what="the end of the leases")
        assert [outcomes(process) for process in processes] == [[""]] * slots
        worker.send(signal.SIGKILL, group=True)
    with run_worker(broker, pool=pool, concurrency=slots, patience=0):
        for process, journal in zip(processes, journals, strict=True):
            journal.open(2)
            assert ended(process).status == Status.SUCCEEDED
            assert outcomes(process) == ["lost", "succeeded"]
