"""Many who report and read at once: numbers without gaps, in the order in which they can be seen (I2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
from django.db import connection, transaction

from django_progress.clock import DatabaseNow
from django_progress.exceptions import ProcessCancelled
from django_progress.execution import Execution
from django_progress.models import Event, Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests.executing import claim, fresh, inside, start
from tests.invariants import check_invariants
from tests.races.threads import all_together
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

WRITERS = 6
EVENTS = 150


@pytest.fixture(autouse=True)
def invariants(transactional_db: None) -> Iterator[None]:
    yield
    check_invariants()


def follow(process: Process, last: int) -> list[int]:
    """Read as a page does: what came after what was seen, until ``last``."""
    seen: list[int] = []

    def poll() -> bool:
        after = seen[-1] if seen else 0
        seen.extend(Event.objects.filter(process=process).after(after).values_list("seq", flat=True))
        return bool(seen) and seen[-1] >= last

    wait_until(poll, timeout=60, what=f"event {last}")
    return seen


def test_six_writers_and_two_readers() -> None:
    process = Process.objects.start("x")
    last = 1 + WRITERS * EVENTS

    def report(number: int) -> None:
        row = fresh(process)
        for turn in range(EVENTS):
            if turn % 3:
                row.log(f"{number}/{turn}")
            elif turn % 2:
                row.milestone(f"m{number}-{turn}")
            else:
                row.set_message(f"writer {number}", turn)

    writers = [partial(report, number) for number in range(WRITERS)]
    *_, first, second = all_together(*writers, partial(follow, process, last), partial(follow, process, last))
    assert first == second == list(range(1, last + 1))
    assert len(fresh(process).messages) == WRITERS


def test_a_caller_that_rolls_back_leaves_no_gap() -> None:
    process = Process.objects.start("x")

    def report(number: int) -> None:
        row = fresh(process)
        for turn in range(20):
            try:
                with transaction.atomic():
                    row.log(f"{number}/{turn}")
                    if (number + turn) % 3 == 0:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass

    all_together(*[partial(report, number) for number in range(4)])
    kept = sum((number + turn) % 3 != 0 for number in range(4) for turn in range(20))
    assert fresh(process).last_seq == 1 + kept


def test_counts_of_many_add_up() -> None:
    process = Process.objects.start("x", total=400)

    def add() -> None:
        row = fresh(process)
        for _ in range(100):
            row.advance()
        row.checkpoint()

    all_together(*[add] * 4)
    assert (fresh(process).current, fresh(process).percent) == (400, 100)


def test_reports_and_the_end() -> None:
    for _ in range(5):
        process = start()
        executing = claim(process)
        viewer = fresh(process)
        over = threading.Event()

        def cancel(viewer: Process = viewer, over: threading.Event = over) -> None:
            viewer.cancel(force=True)
            over.set()

        def body(executing: Execution = executing, over: threading.Event = over) -> int:
            with inside(executing) as bound:
                for number in count():
                    was_over = over.is_set()
                    try:
                        bound.milestone(f"m{number}")
                    except ProcessCancelled:
                        return number
                    assert not was_over
            raise AssertionError

        _, reported = all_together(cancel, body)
        assert fresh(process).status == Status.CANCELLED
        assert Event.objects.filter(process=process, type="milestone").count() == 1 + reported


@pytest.mark.postgres
def test_every_thread_has_given_its_connection_back() -> None:
    process = Process.objects.start("x")

    def open_ones() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    before = open_ones()
    all_together(*[partial(fresh, process)] * 5)
    wait_until(lambda: open_ones() <= before, what="five connections to be closed")


def test_an_overdue_row_that_somebody_holds_keeps_nobody_waiting() -> None:
    """Neither the sweep, nor who looks, nor who asks to cancel; it is stored once the row is free."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("Here a row that is held can't be skipped.")
    process = start(max_duration=600)
    executing = claim(process)
    held, done = threading.Event(), threading.Event()

    def body() -> None:
        with transaction.atomic(), inside(executing) as mine:
            mine.milestone("held")
            held.set()
            assert done.wait(30)

    def others() -> None:
        assert held.wait(30)
        try:
            other = fresh(process)
            assert other.cancel() is False  # asked, and not waited for
            assert other._expire_if_overdue(wait=False) is False
            assert not sweep()
        finally:
            done.set()

    all_together(body, others)
    Process.objects.filter(pk=process.pk).update(expires_at=DatabaseNow(-1))
    assert sweep()["expired"] == 1
