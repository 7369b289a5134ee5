"""Numbers: gathered, never falling, never lying (decision 10)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from django_progress import guarding, tracking
from django_progress.exceptions import ProcessCancelled, ProcessExpired
from django_progress.models import Event, Process
from django_progress.status import Status
from tests.executing import claim, execute, fresh, inside, settle, start, types
from tests.invariants import check_invariants

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(tracking, "time", SimpleNamespace(monotonic=clock))
    yield clock
    check_invariants()


@pytest.fixture
def process() -> Process:
    return Process.objects.start("Counting")


def shown(process: Process) -> tuple[float, float | None, float | None]:
    row = fresh(process)
    return row.current, row.total, row.percent


# What is written, and when


def test_the_first_report_is_written_at_once_and_others_within_half_a_second_are_not(
    process: Process, clock: Clock
) -> None:
    process.advance()
    assert fresh(process).current == 1
    with CaptureQueriesContext(connection) as queries:
        for _ in range(100):
            process.advance()
            clock.sleep(0.004)
    assert len(queries) == 0
    clock.sleep(0.2)
    process.advance()
    assert fresh(process).current == 102


def test_no_more_than_two_writes_a_second_and_an_event_every_five(process: Process, clock: Clock) -> None:
    before = fresh(process)
    for _ in range(20_000):  # 20 s
        process.advance()
        clock.sleep(0.001)
    row = fresh(process)
    assert 30 <= row.revision - before.revision <= 41
    assert types(process).count("progress") in (3, 4)
    event = Event.objects.filter(process=process, type="progress").first()
    assert event is not None
    assert set(event.details) == {"current", "total", "unit"}
    assert event.details["current"] >= 5000


def test_track_writes_twice_a_second(process: Process, clock: Clock) -> None:
    def work() -> Iterator[int]:
        for number in range(1000):  # 10 s
            yield number
            clock.sleep(0.01)

    revision = fresh(process).revision
    assert list(process.track(work(), total=1000, unit="rows")) == list(range(1000))
    row = fresh(process)
    assert (row.current, row.total, row.percent, row.unit) == (1000, 1000, 100, "rows")
    assert row.revision - revision <= 23


def test_what_is_gathered_goes_with_any_other_write(process: Process) -> None:
    process.advance()
    process.advance(4)
    process.milestone("half")
    assert fresh(process).current == 5


def test_what_is_gathered_goes_with_the_end(process: Process) -> None:
    process.set_progress(1, 10)
    process.set_progress(4)
    process.succeed()
    assert shown(process) == (4, 10, 40)
    assert fresh(process).status == Status.SUCCEEDED


def test_an_idle_tick_writes_nothing_and_a_checkpoint_checks(process: Process) -> None:
    process.advance(0)
    with CaptureQueriesContext(connection) as queries:
        process.checkpoint()
    assert len(queries) == 1


def test_what_a_failed_write_did_not_take_is_written_later(
    process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.set_progress(1, 10)

    def gone(*args: Any) -> None:
        raise DatabaseError("gone away")

    with monkeypatch.context() as patch:
        patch.setattr(guarding, "write", gone)
        clock.sleep(1)
        with pytest.raises(DatabaseError):
            process.advance(2)
        with pytest.raises(DatabaseError):
            process.milestone("x")
    process.advance(3)
    process.checkpoint()
    assert shown(process) == (6, 10, 60)


# Values


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), float("-inf"), 10**400, 2.0**54, -0.5])
def test_impossible_numbers_are_refused(process: Process, value: float) -> None:
    for report in (
        lambda: process.advance(value),
        lambda: process.set_progress(value),
        lambda: process.set_progress(1, value),
        lambda: list(process.track([1], total=value)),
    ):
        with pytest.raises(ValueError, match="between 0 and"):
            report()
    with pytest.raises(ValueError, match="between 0 and"):
        Process.objects.start("x", total=value)
    assert shown(process) == (0, None, None)


@pytest.mark.parametrize("value", [True, "5", b"5", None, [1], object()])
def test_what_is_no_number_is_refused(process: Process, value: Any) -> None:
    with pytest.raises(TypeError, match="must be a number"):
        process.advance(value)


@pytest.mark.parametrize("value", [Decimal("2.5"), Fraction(5, 2), 2.5])
def test_other_numbers_are_taken(process: Process, value: Any) -> None:
    process.set_progress(value, 10)
    assert shown(process) == (2.5, 10, 25)


def test_a_refused_unit_changes_nothing(process: Process) -> None:
    with pytest.raises(TypeError):
        process.set_progress(5, 10, unit=b"rows")  # type: ignore[arg-type]
    process.checkpoint()
    assert shown(process) == (0, None, None)


# Honest numbers


def test_the_count_never_falls(process: Process, clock: Clock) -> None:
    process.set_progress(60, 100)
    clock.sleep(1)
    process.set_progress(40, 100)
    assert shown(process) == (60, 100, 60)
    other = fresh(process)
    other.set_progress(10)
    assert shown(process) == (60, 100, 60)
    assert process.percent == 60


def test_setting_less_does_not_undo_what_was_advanced_and_not_written_yet(process: Process) -> None:
    process.set_progress(10, 100)
    process.advance(5)
    process.set_progress(12)
    process.advance()
    process.checkpoint()
    assert shown(process) == (16, 100, 16)
    assert process.current == 16


def test_the_percentage_does_not_fall_when_the_total_grows(process: Process, clock: Clock) -> None:
    process.set_progress(60, 100)
    clock.sleep(1)
    process.set_progress(60, 200)
    assert shown(process) == (60, 200, 60)
    assert process.percent == 60  # nor on the instance that did it
    clock.sleep(1)
    process.set_progress(150, 200)
    assert shown(process) == (150, 200, 75)


def test_full_and_then_more_is_unknown(process: Process, clock: Clock) -> None:
    process.set_progress(10, 10)
    clock.sleep(1)
    process.set_progress(10, 20)
    assert shown(process) == (10, 20, None)
    assert process.percent is None
    clock.sleep(1)
    process.set_progress(20)
    assert shown(process) == (20, 20, 100)


def test_more_than_the_total_can_not_be_a_share_of_it(process: Process) -> None:
    process.set_progress(12, 10)
    assert shown(process) == (12, 10, None)


def test_of_nothing_there_is_no_share_until_it_is_done(process: Process, clock: Clock) -> None:
    process.set_progress(0, 0)
    assert shown(process) == (0, 0, None)
    clock.sleep(1)
    process.set_progress(1, 4)
    assert shown(process) == (1, 4, 25)
    empty = Process.objects.start("x", total=0)
    empty.succeed()
    assert shown(empty) == (0, 0, 100)


def test_success_with_an_unknown_total_has_no_percentage(process: Process) -> None:
    process.advance(7)
    process.succeed()
    assert shown(process) == (7, None, None)


def test_full_is_not_finished(process: Process) -> None:
    process.set_progress(10, 10)
    assert fresh(process).is_active


def test_a_failure_keeps_its_last_true_count(process: Process) -> None:
    process.set_progress(60, 100)
    process.advance(2)
    process.fail("x")
    assert shown(process) == (62, 100, 62)


def test_a_new_attempt_starts_over_and_says_so() -> None:
    process = start(max_attempts=2, total=50)

    def body(process: Process) -> None:
        process.set_progress(60, 100)
        raise RuntimeError

    execute(process, body)
    assert shown(process) == (60, 100, 60)  # until it does
    executing = claim(process)
    assert shown(process) == (0, 50, 0)
    event = Event.objects.filter(process=process, type="attempt").last()
    assert event is not None
    assert event.details == {"attempt": 2, "max_attempts": 2}
    settle(executing, lambda p: p.set_progress(10))
    assert shown(process) == (10, 50, 20)


def test_handing_on_does_not_start_over() -> None:
    process = start(total=100)
    execute(process, lambda p: p.set_progress(60) or p.requeue())
    claim(process)
    assert shown(process) == (60, 100, 60)


# track()


def test_track_takes_the_length_for_the_total_unless_start_named_one(process: Process) -> None:
    list(process.track("abcd"))
    assert shown(process) == (4, 4, 100)
    known = Process.objects.start("x", total=10)
    list(known.track("abcd"))
    assert shown(known) == (4, 10, 40)
    list(known.track("abcd", total=4))
    assert shown(known) == (8, 8, 100)


def test_track_of_something_endless_has_no_total(process: Process) -> None:
    for number in process.track(iter(range(100))):
        if number == 3:
            break
    process.checkpoint()
    assert shown(process) == (3, None, None)


def test_one_track_after_another_adds_up(process: Process) -> None:
    list(process.track([1, 2]))
    list(process.track([1, 2, 3]))
    assert shown(process)[:2] == (5, 5)


def test_track_shows_its_description(process: Process) -> None:
    list(process.track([1], description="Looking for regressions"))
    assert fresh(process).messages == [("Stage", "Looking for regressions")]


def test_an_exception_in_the_loop_leaves_the_count_before_it() -> None:
    process = start()

    def body(process: Process) -> None:
        for item in process.track([1, 2, 3, 4]):
            if item == 3:
                raise RuntimeError

    execute(process, body)
    assert shown(process) == (2, 4, 50)


def test_track_stops_when_it_was_cancelled_or_has_expired(clock: Clock) -> None:
    from datetime import timedelta

    from django.utils import timezone

    for stop in (ProcessCancelled, ProcessExpired):
        process = start()
        executing = claim(process)
        done = []

        def body(process: Process, done: list[int] = done, stop: Any = stop) -> None:
            for number in process.track(range(1000)):
                done.append(number)
                clock.sleep(0.1)
                if number == 4 and stop is ProcessCancelled:
                    fresh(process).cancel()
                elif number == 4:
                    Process.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

        assert isinstance(settle(executing, body), stop)
        assert 5 <= len(done) <= 10
        assert fresh(process).status in (Status.CANCELLED, Status.EXPIRED)
        Process.objects.all().delete()


# Rate and time left


def test_time_left_needs_some_samples(process: Process, clock: Clock) -> None:
    process.set_progress(0, 100)
    for count in range(1, 6):
        clock.sleep(1)
        process.set_progress(count * 2)
        row = fresh(process)
        assert (row.eta is None) == (count < 3)
    assert row.rate == pytest.approx(2)
    assert row.eta == pytest.approx(45, abs=1)


def test_a_milestone_in_between_does_not_spoil_the_rate(process: Process, clock: Clock) -> None:
    process.set_progress(0, 100)
    for count in range(1, 6):
        clock.sleep(0.9)
        process.milestone(f"m{count}")
        clock.sleep(0.1)
        process.set_progress(count * 2)
        process.checkpoint()
    assert fresh(process).rate == pytest.approx(2, rel=0.2)


def test_two_instances_in_one_body_share_what_they_gather() -> None:
    process = start(total=100)
    with inside(claim(process)) as bound:
        bound.advance(1)
        other = fresh(process)
        other.advance(2)
        bound.advance(3)
        other.set_progress(10)
        bound.checkpoint()
    assert fresh(process).current == 10


def test_failure_in_a_tracked_loop_keeps_its_count() -> None:
    """The traceback keeps the generator alive until long after the failure was written."""
    process = start()

    def body(p: Process) -> None:
        items = p.track(range(100))
        for item in items:
            if item == 50:
                raise RuntimeError

    execute(process, body)
    assert (fresh(process).status, fresh(process).current) == (Status.FAILED, 50)
