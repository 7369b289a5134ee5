"""The sweep: whatever a lost message, worker or hook left undone is found and done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import failpoints, leases, signals
from django_progress.models import Attempt, Process
from django_progress.status import Outcome, Status
from django_progress.sweep import sweep
from tests.executing import claim, execute, fresh, inside, last_attempt, run_out, settle, start, types
from tests.invariants import check_invariants
from tests.races.threads import all_together
from tests.unit.conftest import FakeEngine

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def invariants(db: None, engine: FakeEngine) -> Iterator[None]:
    yield
    check_invariants()


def past(**fields: float) -> dict[str, Any]:
    return {name: timezone.now() - timedelta(seconds=seconds) for name, seconds in fields.items()}


def seconds_until(moment: Any) -> float:
    return float((moment - timezone.now()).total_seconds())


def test_nothing_to_do() -> None:
    start()
    claim(start())
    Process.objects.start("x", max_duration=60)
    assert sweep() == {}


# Deadlines


def test_overdue_ones_expire(django_capture_on_commit_callbacks: Callable[..., Any]) -> None:
    told = []
    processes = [start(max_duration=60), Process.objects.start("x", max_duration=60), start(max_duration=60)]
    claim(processes[2])
    Process.objects.update(**past(expires_at=1))

    def receive(process: Process, **kwargs: Any) -> None:
        told.append(process.status)

    signals.process_finished.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            assert sweep() == {"expired": 3}
    finally:
        signals.process_finished.disconnect(receive)
    assert told == [Status.EXPIRED] * 3
    assert {fresh(process).status for process in processes} == {Status.EXPIRED}
    assert last_attempt(processes[2]).outcome == Outcome.EXPIRED
    assert sweep() == {}


# Pending ones


def test_lost_messages_are_sent_again_at_doubling_intervals(engine: FakeEngine) -> None:
    process = start()
    assert 55 < seconds_until(fresh(process).due_at) <= 60
    intervals = []
    for turn in range(1, 9):
        Process.objects.update(**past(due_at=1))
        assert sweep() == {"published": 1}
        assert sweep() == {}
        assert engine.published == [process.task_id] * turn
        intervals.append(round(seconds_until(fresh(process).due_at), -1))
    assert intervals == [120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_message_that_nobody_took_for_months_is_no_overflow() -> None:
    process = start()
    Process.objects.update(publish_count=5000, **past(due_at=1))
    assert sweep() == {"published": 1}
    assert 3500 < seconds_until(fresh(process).due_at) <= 3600


def test_what_was_published_by_nobody_yet_is_repeated_after_a_minute(engine: FakeEngine) -> None:
    process = start()
    execute(process, lambda p: p.requeue(delay=300))
    row = fresh(process)
    assert 295 < seconds_until(row.due_at) <= 300
    assert sweep() == {}  # not before its time
    assert engine.published == []
    Process.objects.update(**past(due_at=1, next_attempt_at=2))
    assert sweep() == {"published": 1}
    assert engine.published == [row.task_id]
    assert 55 < seconds_until(fresh(process).due_at) <= 60
    assert claim(process)


@pytest.mark.django_db(transaction=True)
def test_what_the_broker_did_not_take_is_tried_again_soon(engine: FakeEngine) -> None:
    engine.works = False
    process = start()
    for _ in range(3):
        row = fresh(process)
        assert (row.status, row.publish_count) == (Status.PENDING, 1)
        assert 0 < seconds_until(row.due_at) <= 5
        Process.objects.update(**past(due_at=1))
        assert sweep() == {}
    engine.works = True
    Process.objects.update(**past(due_at=1))
    assert sweep() == {"published": 1}
    assert engine.published == [process.task_id]


@pytest.mark.django_db(transaction=True)
def test_noting_that_the_broker_took_nothing_waits_for_nobody(engine: FakeEngine) -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database locks no rows.")
    process = start()
    Process.objects.update(**past(due_at=1))
    engine.works = False
    chosen, held, swept = threading.Event(), threading.Event(), threading.Event()

    def hold() -> bool:
        assert chosen.wait(30)
        with transaction.atomic():
            fresh(process).milestone("held")
            held.set()
            return swept.wait(5)

    def look() -> Any:
        done = sweep()
        swept.set()
        return done

    def pause() -> None:
        chosen.set()
        assert held.wait(30)

    with failpoints.armed("sweep.publishing", pause):
        assert all_together(hold, look) == [True, {}]
    assert fresh(process).due_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_hook_that_raises_before_ours_delays_the_message_only(engine: FakeEngine) -> None:
    def broken() -> None:
        raise RuntimeError("somebody else's hook")

    def view() -> Process:
        with transaction.atomic():
            transaction.on_commit(broken)
            return start()

    with pytest.raises(RuntimeError):
        view()
    process = Process.objects.get()
    assert engine.published == []
    Process.objects.update(**past(due_at=1))
    assert sweep() == {"published": 1}
    assert engine.published == [process.task_id]


def test_one_that_is_claimed_meanwhile_is_not_published(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_progress import sweep as module

    process = start()
    Process.objects.update(**past(due_at=1))
    take = module._take_batch

    def late(using: str) -> list[Process]:
        if fresh(process).status == Status.PENDING:
            claim(process)
        return take(using)

    monkeypatch.setattr(module, "_take_batch", late)
    assert sweep() == {}
    assert engine.published == []


def test_what_one_sweep_is_about_to_publish_another_leaves_alone(engine: FakeEngine) -> None:
    process = start()
    Process.objects.update(**past(due_at=1))
    others: list[Any] = []
    with failpoints.armed("sweep.publishing", lambda: others.append(sweep())):
        assert sweep() == {"published": 1}
    assert others == [{}]
    assert engine.published == [process.task_id]
    assert fresh(process).publish_count == 2


def test_a_sweep_that_is_killed_before_it_publishes_loses_nothing(engine: FakeEngine) -> None:
    process = start()
    Process.objects.update(**past(due_at=1))

    def die() -> None:
        raise KeyboardInterrupt

    with failpoints.armed("sweep.publishing", die), pytest.raises(KeyboardInterrupt):
        sweep()
    assert 100 < seconds_until(fresh(process).due_at) <= 120
    Process.objects.update(**past(due_at=1))
    assert sweep() == {"published": 1}


def test_many_are_published_in_batches(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_progress import sweep as module

    monkeypatch.setattr(module, "MESSAGES", 2)
    monkeypatch.setattr(module, "BATCH", 6)
    for count in (1, 1, 2, 3, 3):
        process = start()
        Process.objects.filter(pk=process.pk).update(publish_count=count, **past(due_at=1))
    assert sweep() == {"published": 5}
    assert len(set(engine.published)) == 5
    waits = [round(seconds_until(row.due_at) / 60) for row in Process.objects.order_by("pk")]
    assert waits == [2, 2, 4, 8, 8]


# Lost workers


def test_a_silent_attempt_is_tried_again() -> None:
    process = start(max_attempts=2, retry_delay=30)
    executing = claim(process)
    run_out()
    assert sweep() == {"lost": 1}
    row = fresh(process)
    assert (row.status, row.attempt_number) == (Status.PENDING, 1)
    assert 25 < seconds_until(row.next_attempt_at) <= 30
    assert last_attempt(process).outcome == Outcome.LOST
    assert "lost" in last_attempt(process).error
    assert types(process)[-1] == "attempt_lost"
    # The worker was only slow: it changes nothing any more (I4).
    settle(executing, lambda p: "late")
    assert fresh(process).status == Status.PENDING
    assert sweep() == {}


@pytest.mark.skipif(not connection.features.has_select_for_update_skip_locked, reason="This database locks no rows.")
def test_a_sweep_looks_twice_before_it_takes_a_worker_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may have held the attempt until now; a worker that is alive beats as soon as it can."""
    alive, dead = (claim(start(max_attempts=2)) for _ in range(2))
    Attempt.objects.update(**past(lease_until=1))
    pauses: list[float] = []

    def beat(seconds: float) -> None:
        pauses.append(seconds)
        leases.renew({alive.token: leases.Held(60, 10, "default")})
        Attempt.objects.filter(token=dead.token).update(**past(doubted_at=seconds))

    monkeypatch.setattr("time.sleep", beat)
    assert sweep() == {"lost": 1}
    assert (fresh(alive.process).status, fresh(dead.process).status) == (Status.RUNNING, Status.PENDING)
    assert sweep() == {}
    assert len(pauses) == 1, "Whoever has nobody in doubt doesn't wait."


@pytest.mark.skipif(connection.features.has_select_for_update_skip_locked, reason="Here a beat is never locked out.")
def test_where_a_writer_locks_out_the_heartbeat_one_sighting_is_not_enough() -> None:
    process = start(max_attempts=2, lease=40)
    claim(process)
    Attempt.objects.update(**past(lease_until=1))
    assert sweep() == {}
    assert sweep() == {}
    Attempt.objects.update(**past(doubted_at=9))
    assert sweep() == {}
    Attempt.objects.update(**past(doubted_at=11))
    assert sweep() == {"lost": 1}


@pytest.mark.skipif(connection.features.has_select_for_update_skip_locked, reason="Here a beat is never locked out.")
def test_a_report_inside_a_transaction_renews_the_lease() -> None:
    executing = claim(start(lease=40))
    executing.renewed_at -= 10
    run_out()
    with inside(executing) as process, transaction.atomic():
        process.log("alive")
        process.log("and no oftener than it beats")
    attempt = last_attempt(process)
    assert attempt.doubted_at is None
    assert 30 < seconds_until(attempt.lease_until) <= 40


def test_a_silent_attempt_fails_when_it_was_the_last() -> None:
    process = start()
    claim(process)
    run_out()
    assert sweep() == {"lost": 1}
    row = fresh(process)
    assert (row.status, row.error) == (Status.FAILED, "The worker was lost.")
    assert last_attempt(process).outcome == Outcome.LOST


@pytest.mark.parametrize("max_attempts", [1, 2])
@pytest.mark.parametrize("column", ["lease_until", "timeout_at"])
def test_a_dead_attempt_that_was_asked_to_cancel_is_cancelled(column: str, max_attempts: int) -> None:
    user = User.objects.create_user("ann")
    process = start(max_attempts=max_attempts, attempt_timeout=60)
    claim(process)
    assert fresh(process).cancel(by=user) is False
    Attempt.objects.update(**past(**{column: 1}, doubted_at=3600))
    sweep()
    row = fresh(process)
    assert (row.status, row.ended_by) == (Status.CANCELLED, user)
    assert last_attempt(process).outcome == Outcome.CANCELLED


def test_an_attempt_that_takes_too_long_is_given_up() -> None:
    process = start(max_attempts=2, attempt_timeout=60)
    claim(process)
    assert sweep() == {}
    Attempt.objects.update(**past(timeout_at=1))
    assert sweep() == {"timed_out": 1}
    assert fresh(process).status == Status.PENDING
    assert types(process)[-1] == "attempt_timed_out"
    claim(process)
    run_out()
    Attempt.objects.executing().update(**past(timeout_at=1))
    assert sweep() == {"timed_out": 1}
    assert (fresh(process).status, fresh(process).error) == (Status.FAILED, "It took too long.")


def test_a_worker_lost_after_the_deadline_is_an_expiry() -> None:
    process = start(max_attempts=5, max_duration=60)
    claim(process)
    run_out()
    Process.objects.update(**past(expires_at=1))
    assert sweep() == {"expired": 1}
    assert fresh(process).status == Status.EXPIRED


def test_rescuer_reads_and_a_late_beat_comes_before_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    _between_reading_and_writing(
        monkeypatch,
        lambda executing, process: Attempt.objects.update(lease_until=timezone.now() + timedelta(minutes=1)),
    )
    assert Process.objects.get().status == Status.RUNNING


def _between_reading_and_writing(monkeypatch: pytest.MonkeyPatch, happens: Callable[..., Any]) -> None:
    from django_progress import sweep as module

    process = start(max_attempts=2)
    executing = claim(process)
    run_out()
    abandon = module._abandon

    def slow(*args: Any) -> bool:
        happens(executing, process)
        return abandon(*args)

    monkeypatch.setattr(module, "_abandon", slow)
    assert sweep() == {}


@pytest.mark.django_db(transaction=True)
def test_a_sweep_neither_waits_for_a_row_that_a_report_holds_nor_rescues_it() -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    run_out()
    assert _sweep_while(lambda: executing.process.milestone("halfway")) == {}
    assert (fresh(process).status, last_attempt(process).outcome) == (Status.RUNNING, Outcome.RUNNING)
    assert sweep() == {"lost": 1}  # it was the report that kept the first sweep from it


@pytest.mark.django_db(transaction=True)
def test_a_sweep_neither_waits_for_an_overdue_row_that_somebody_holds_nor_expires_it() -> None:
    process = start(max_duration=60)
    claim(process)
    Process.objects.update(**past(expires_at=1))
    assert _sweep_while(lambda: Process.objects.select_for_update().get()) == {}
    assert not process.event_set.filter(type=Status.EXPIRED).exists()
    assert sweep() == {"expired": 1}


def _sweep_while(hold: Callable[[], Any]) -> Any:
    """Return what a sweep does while another transaction holds what ``hold`` locked; fail if it waits for that."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database locks no rows.")
    held, swept = threading.Event(), threading.Event()

    def transact() -> bool:
        with transaction.atomic():
            hold()
            held.set()
            return swept.wait(5)

    def look() -> Any:
        assert held.wait(30)
        done = sweep()
        swept.set()
        return done

    in_time, done = all_together(transact, look)
    assert in_time, "The sweep waited."
    return done


def test_one_that_can_not_be_settled_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from django_progress import dispatch

    bad, good = start(), start()
    for process in (bad, good):
        claim(process)
    run_out()
    abandoned = dispatch.abandoned

    def fails_once(attempt: Attempt, outcome: Outcome) -> None:
        if attempt.process_id == bad.pk:
            raise RuntimeError("cannot")
        abandoned(attempt, outcome)

    monkeypatch.setattr(dispatch, "abandoned", fails_once)
    assert sweep() == {"lost": 1}
    assert fresh(good).status == Status.FAILED
    assert "cannot" in caplog.text
    monkeypatch.undo()
    assert sweep() == {"lost": 1}


def test_a_sweep_is_a_few_queries_however_much_there_is() -> None:
    for _ in range(20):
        start()
        Process.objects.start("x")
    with CaptureQueriesContext(connection) as queries:
        sweep()
    assert len(queries) == 6


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    Process.objects.start("x", max_duration=60)
    Process.objects.update(**past(expires_at=1))
    call_command("progress_sweep")
    assert capsys.readouterr().out == "1 expired\n"
    call_command("progress_sweep")
    assert capsys.readouterr().out == ""


def test_it_looks_where_processes_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import router
    from django.utils.connection import ConnectionDoesNotExist

    monkeypatch.setattr(router, "db_for_write", lambda *args, **hints: "elsewhere")
    with pytest.raises(ConnectionDoesNotExist, match="elsewhere"):
        sweep()
    monkeypatch.undo()
