"""Faults 30 to 32: the database server is restarted, or hangs up on a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone

from django_progress import engines
from django_progress.failpoints import VARIABLE
from django_progress.models import Attempt
from django_progress.status import Status
from tests.databases import use_database
from tests.faults.journal import Journal
from tests.faults.tasks import silent, work, work_late
from tests.faults.watching import ended, messages, outcomes
from tests.invariants import check_invariants
from tests.private import MariaDB, Postgres, private_mariadb, private_postgres
from tests.workers import Broker, run_worker, wait_until

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

PRIVATE = {"postgres": private_postgres, "mariadb": private_mariadb}


@pytest.fixture(scope="module")
def private() -> Iterator[Postgres | MariaDB]:
    if settings.DATABASE not in PRIVATE:
        pytest.skip("There is no server.")
    with PRIVATE[settings.DATABASE]() as server:
        yield server


@pytest.fixture
def server(transactional_db: None, private: Postgres | MariaDB, invariants_hold: None) -> Iterator[Postgres | MariaDB]:
    """One of our own, which this process and its workers use. The checker has to look before it goes."""
    private.empty()
    with use_database(private):
        yield private
        check_invariants()


def restart(server: Postgres | MariaDB) -> None:
    connections.close_all()
    server.restart()


def is_past(moment: datetime | None) -> bool:
    """Ask no database: it is away. Nothing is decided by this but how long to wait."""
    assert moment is not None
    return timezone.now() > moment


def renewed(attempt: Attempt) -> bool:
    """Say whether its lease was renewed since it was read."""
    before = attempt.lease_until
    attempt.refresh_from_db()
    return attempt.lease_until != before


def test_fault_30_restarted_under_a_body_that_reports(
    server: Postgres, broker: Broker, journal: Journal, agree: Callable[..., None]
) -> None:
    """The report is written on a new connection: at most once is enough."""
    agree(LEASE=60, HEARTBEAT=0.5)
    process = work.start(None, str(journal))
    with run_worker(broker, patience=0):
        journal.wait_for_run(1)
        restart(server)
        journal.open(1)
        assert ended(process).status == Status.SUCCEEDED
    assert journal.runs == [1]
    assert outcomes(process) == ["succeeded"]


def test_fault_30_restarted_under_a_body_that_is_silent(
    server: Postgres, broker: Broker, journal: Journal, agree: Callable[..., None]
) -> None:
    """Its end is written on a new connection; the heartbeat and the sweep have found theirs again before."""
    agree(LEASE=60, HEARTBEAT=0.5)
    process = silent.start(None, str(journal))
    with run_worker(broker, patience=0):
        journal.wait_for_run(1)
        restart(server)
        attempt = Attempt.objects.get()
        wait_until(lambda: renewed(attempt), timeout=60, what="a beat after the restart")
        journal.open(1)
        assert ended(process).status == Status.SUCCEEDED
    assert journal.runs == [1]


@pytest.mark.usefixtures("quick")
def test_fault_30_away_for_longer_than_the_lease(server: Postgres, broker: Broker, journal: Journal) -> None:
    process = work.using(max_attempts=2).start(None, str(journal))
    with run_worker(broker, patience=0):
        journal.wait_for_run(1)
        until = Attempt.objects.get().lease_until
        connections.close_all()
        server.stop()
        wait_until(lambda: is_past(until), what="the lease to be over")
        server.start()
        journal.open(1, 2)
        assert ended(process).status == Status.SUCCEEDED
    # The first body may just have ended when its attempt was given up: then it counts for nothing.
    assert outcomes(process)[-1] == "succeeded"
    assert outcomes(process).count("succeeded") == 1


def test_fault_31_restarted_between_the_last_commit_and_the_acknowledgement(
    server: Postgres, broker: Broker, journal: Journal, tmp_path: Path, agree: Callable[..., None]
) -> None:
    agree(LEASE=60, HEARTBEAT=0.5)
    go_on = tmp_path / "go-on"
    process = work_late.start(None, str(journal))
    task_id = process.task_id
    journal.open(1)
    with run_worker(broker, patience=0, concurrency=1, env={VARIABLE: f"end.committed=wait:{go_on}"}) as worker:
        wait_until(Path(f"{go_on}.reached").exists, timeout=60, what="the end")
        restart(server)
        go_on.touch()
        process.refresh_from_db()
        assert (process.status, process.result) == (Status.SUCCEEDED, "done")
        # As a broker does that has heard no acknowledgement.
        options = dict(process.task_options)
        assert engines.get_engine().publish(process.task_name, task_id=task_id, key=str(process.key), options=options)
        second = work.start(None, str(journal.path.with_name("second")))
        Journal(journal.path.with_name("second")).open(1)
        assert ended(second).status == Status.SUCCEEDED
        wait_until(lambda: messages(broker) == 0)
        assert worker.is_alive()
    assert journal.runs == [1]
    assert outcomes(process) == ["succeeded"]


@pytest.mark.parametrize("task", ["silent", "work"])
def test_fault_32_idle_connections_are_terminated_inside_a_long_task(
    task: str, server: Postgres, broker: Broker, journal: Journal, agree: Callable[..., None]
) -> None:
    """Of the body, the heartbeat and the sweep, as a firewall or a pooler does it."""
    agree(LEASE=60, HEARTBEAT=0.5)
    process = {"silent": silent, "work": work}[task].start(None, str(journal))
    with run_worker(broker, patience=0):
        journal.wait_for_run(1)
        connections.close_all()
        assert server.terminate_connections() >= 1
        attempt = Attempt.objects.get()
        wait_until(lambda: renewed(attempt), timeout=60, what="a beat afterwards")
        journal.open(1)
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["succeeded"]
