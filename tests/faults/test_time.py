"""Clocks that disagree, that are put forward and back, and deadlines that make no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_progress import claiming, clock, leases
from django_progress.models import Attempt, Process, Worker
from django_progress.status import Status
from django_progress.sweep import sweep
from tests.executing import claim, execute, fresh, last_attempt, settle, start
from tests.faults.clocks import database_clock, shifted
from tests.faults.journal import Journal
from tests.faults.tasks import work
from tests.faults.watching import ended
from tests.travel.tasks import connect, patient
from tests.workers import Broker, run_worker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0


# Fault 39: a worker whose clock is wrong


@pytest.mark.worker
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_fault_39_a_worker_whose_clock_is_an_hour_off(
    seconds: float, broker: Broker, journal: Journal, tmp_path: Path
) -> None:
    before = clock.read("default")
    # One that outlives its lease, one that is tried again after a delay, one that expires.
    healthy = work.using(max_duration=600, max_attempts=2).start(None, str(journal))
    again = connect.using(retry_delay=0.2, max_duration=600).start(None, str(tmp_path / "calls"))
    with run_worker(broker, patience=0, concurrency=3, env=shifted(tmp_path, seconds)):
        late = patient.using(max_duration=2).start(None)
        offset = wait_until(lambda: Worker.objects.values_list("clock_offset", flat=True).first())
        assert abs(offset - seconds) < 60
        journal.wait_for_run(1)
        attempt = Attempt.objects.get(process=healthy)
        assert attempt.lease_until is not None
        first = attempt.lease_until
        wait_until(lambda: clock.read("default") > first + timedelta(seconds=1), what="the first lease to be over")
        assert fresh(healthy).status == Status.RUNNING
        assert ended(again).status == Status.SUCCEEDED
        assert ended(late).status == Status.EXPIRED
        journal.open(1)
        assert ended(healthy).status == Status.SUCCEEDED
    assert journal.runs == [1]
    after = clock.read("default")
    for process in map(fresh, (healthy, again, late)):
        moments = [process.started_at, process.updated_at, process.finished_at]
        moments += process.event_set.values_list("happened_at", flat=True)
        moments += process.attempts.values_list("started_at", flat=True)
        assert before <= min(moments)
        assert max(moments) <= after
        assert process.expires_at is not None
        assert process.finished_at is not None
        assert (process.finished_at >= process.expires_at) == (process == late)


@pytest.fixture(params=[-HOUR, HOUR])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django takes for the time is an hour off."""
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(seconds=request.param))


@pytest.mark.usefixtures("engine", "wrong_clock")
def test_fault_39_no_decision_reads_the_programs_clock() -> None:
    process = start(max_duration=600, max_attempts=2, retry_delay=100, lease=60, attempt_timeout=60)
    executing = claim(process)
    assert sweep() == {}
    leases.renew({executing.token: leases.Held(lease=60, beat=10, using="default")})
    assert sweep() == {}
    settle(executing, lambda p: 1 / 0)
    assert sweep() == {}  # the second attempt isn't due yet
    Process.objects.update(next_attempt_at=clock.DatabaseNow(-0.1), due_at=clock.DatabaseNow(-0.1))
    assert sweep() == {"published": 1}
    claim(process)
    Attempt.objects.executing().update(timeout_at=clock.DatabaseNow(-0.1))
    assert sweep() == {"timed_out": 1}
    overdue = start(max_duration=600)
    Process.objects.filter(pk=overdue.pk).update(expires_at=clock.DatabaseNow(-0.1))
    assert sweep() == {"expired": 1}


# Fault 40: clocks that are changed

BERLIN = ZoneInfo("Europe/Berlin")
CHANGES = {
    "put back": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "put forward": datetime(2026, 3, 29, 1, tzinfo=UTC),
}


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[datetime], None]]:
    with database_clock(monkeypatch) as at:
        yield at


@pytest.fixture
def summer_time(settings: Any) -> Iterator[None]:
    """A site in Berlin, on a database server in Berlin."""
    settings.TIME_ZONE = "Europe/Berlin"
    if connection.vendor == "mysql":  # PostgreSQL's sessions are told their zone by Django.
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+02:00'")
    with timezone.override(BERLIN):
        yield
    connection.close()


@pytest.mark.usefixtures("engine", "summer_time")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fault_40_a_night_in_which_the_clocks_are_changed(change: datetime, at: Callable[[datetime], None]) -> None:
    at(change - minutes(10))
    process = start(max_duration=1200, max_attempts=3, retry_delay=1200, lease=900, attempt_timeout=900)
    waiting = start(max_attempts=2, retry_delay=1200)
    execute(waiting, lambda p: 1 / 0)
    executing = claim(process)
    row = fresh(process)
    assert (row.created_at, row.expires_at) == (change - minutes(10), change + minutes(10))
    assert fresh(waiting).next_attempt_at == change + minutes(10)
    attempt = last_attempt(process)
    assert attempt.lease_until == attempt.timeout_at == change + minutes(5)
    # Berlin's clocks show 2:04 for the second time, or 3:04 four minutes after 1:59.
    at(change + minutes(4))
    assert sweep() == {}
    executing.process.milestone("halfway")
    assert Process.objects.with_now().get(pk=process.pk).now == change + minutes(4)
    at(change + minutes(6))
    leases.renew({executing.token: leases.Held(lease=900, beat=10, using="default")})
    assert sweep() == {"timed_out": 1}
    assert fresh(process).status == Status.FAILED  # another attempt would come after the deadline
    at(change + minutes(9))
    assert sweep() == {}
    at(change + minutes(11))
    assert sweep() == {"published": 1}
    claim(waiting)


@pytest.mark.usefixtures("engine", "summer_time")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fault_40_a_deadline_beyond_the_change(change: datetime, at: Callable[[datetime], None]) -> None:
    at(change - minutes(10))
    process = Process.objects.start("x", max_duration=1200)
    at(change + minutes(9))
    process.milestone("in-time")
    assert not Process.objects.overdue().exists()
    at(change + minutes(11))
    assert sweep() == {"expired": 1}
    assert fresh(process).finished_at == change + minutes(11)


NAIVE = datetime.fromisoformat("2026-10-25T02:30:00")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("value", [NAIVE, timezone.now(), 0, -1, timedelta(0), timedelta(seconds=-1)], ids=str)
def test_fault_40_no_moment_and_nothing_past_is_taken_for_a_deadline(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_duration"):
        Process.objects.start("x", max_duration=value)
    assert not Process.objects.exists()


@pytest.mark.usefixtures("engine")
def test_fault_40_a_naive_datetime_is_kept_as_it_was_written() -> None:
    process = start(context={"when": NAIVE})
    execute(process, lambda p: {"when": NAIVE})
    row = fresh(process)
    assert row.context == row.result == {"when": "2026-10-25T02:30:00"}


@pytest.mark.usefixtures("engine")
def test_fault_40_a_deadline_that_passed_before_the_start_was_committed(at: Callable[[datetime], None]) -> None:
    begin = datetime(2026, 7, 1, tzinfo=UTC)
    at(begin)
    with transaction.atomic():
        process = start(max_duration=60)
        at(begin + minutes(2))
    assert claiming.claim(str(process.key), task_id=process.task_id) is None
    assert (fresh(process).status, fresh(process).executions) == (Status.EXPIRED, 0)
