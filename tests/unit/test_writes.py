"""The guarded write, and the constraints that make a broken row impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import clock, retrying, writes
from django_progress.models import Attempt, Event, Process
from django_progress.status import ACTIVE, Status
from django_progress.writes import NOW, Add, AtLeast, FirstNow, Guard, Later, NewEvent, Peak, write
from tests.executing import claim, fresh, inside, settle, start
from tests.invariants import check_invariants
from tests.races.threads import elsewhere

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

ANY = Guard(ACTIVE)


@pytest.fixture
def process() -> Process:
    return Process.objects.start("x")


def columns(process: Process) -> dict[str, Any]:
    return Process.objects.values().get(pk=process.pk)


def test_a_write_and_its_event_take_the_next_number(process: Process) -> None:
    event = NewEvent("odd", "name", "Ünïcödé 🎉 ' \" % %s", True, {"a": [1, None, "ü", 1.5], "b": {"c": True}})
    changes = {"unit": "50% rows", "milestone_name": "name"}
    assert write("default", process.pk, ANY, changes, event) == (2, 2, False)
    stored = Event.objects.get(process=process, seq=2)
    assert (stored.type, stored.name, stored.message, stored.translatable, stored.details) == event
    assert abs((stored.happened_at - timezone.now()).total_seconds()) < 60
    row = fresh(process)
    assert (row.unit, row.last_seq, row.revision) == ("50% rows", 2, 2)
    assert row.updated_at >= process.updated_at
    check_invariants()


def test_a_write_without_an_event_raises_the_revision_only(process: Process) -> None:
    assert write("default", process.pk, ANY, {"unit": "rows"}) == (1, 2, False)
    assert write("default", process.pk, ANY, {}) == (1, 3, False)
    check_invariants()


@pytest.mark.parametrize("value", [None, [], {}, 0, "", "null", [None], {"ä": ["🎉"]}, 1.5, True, 2**53])
def test_json_comes_back_as_it_was(process: Process, value: Any) -> None:
    write("default", process.pk, ANY, {"result": value}, NewEvent("result", details={"value": value}))
    assert fresh(process).result == value
    assert type(fresh(process).result) is type(value)
    assert Event.objects.get(process=process, seq=2).details == {"value": value}


@pytest.mark.parametrize(
    "guard",
    [
        Guard((Status.PENDING,)),
        Guard(ACTIVE, token="other"),
        Guard(ACTIVE, task_id="other"),
        Guard(ACTIVE, in_time=False, overdue=True),
    ],
)
@pytest.mark.parametrize("event", [None, NewEvent("log")])
def test_a_refused_write_changes_nothing(process: Process, guard: Guard, event: NewEvent | None) -> None:
    before = columns(process)
    assert write("default", process.pk, guard, {"unit": "rows"}, event) is None
    assert write("default", process.pk + 1, ANY, {"unit": "rows"}, event) is None
    assert columns(process) == before
    assert Event.objects.count() == 1


def test_the_deadline_is_compared_with_the_databases_clock(process: Process) -> None:
    for seconds, in_time in ((60, True), (-60, False)):
        Process.objects.update(expires_at=clock.DatabaseNow(seconds))
        assert (write("default", process.pk, Guard(ACTIVE), {}) is not None) == in_time
        assert (write("default", process.pk, Guard(ACTIVE, in_time=False, overdue=True), {}) is None) == in_time
        assert write("default", process.pk, Guard(ACTIVE, in_time=False), {}) is not None


def test_the_next_attempt_is_due_or_not(process: Process) -> None:
    guard = Guard(ACTIVE, due=True)
    assert write("default", process.pk, guard, {})
    Process.objects.update(next_attempt_at=clock.DatabaseNow(60))
    assert write("default", process.pk, guard, {}) is None
    Process.objects.update(next_attempt_at=clock.DatabaseNow(-1))
    assert write("default", process.pk, guard, {})


def test_kinds_of_changes(process: Process) -> None:
    now = clock.read("default")
    write("default", process.pk, ANY, {"current": Add(5), "samples": Add(2), "next_attempt_at": Later(90)})
    write("default", process.pk, ANY, {"current": AtLeast(3, 2)})
    row = fresh(process)
    assert (row.current, row.samples) == (7, 2)
    write("default", process.pk, ANY, {"current": AtLeast(30, 2)})
    assert fresh(process).current == 32
    assert row.next_attempt_at is not None
    assert 89 < (row.next_attempt_at - now).total_seconds() < 100
    started = row.started_at
    write("default", process.pk, ANY, {"started_at": FirstNow(), "next_attempt_at": NOW})
    row = fresh(process)
    assert row.started_at == started
    assert row.next_attempt_at is not None
    assert abs((row.next_attempt_at - now).total_seconds()) < 60
    Process.objects.update(started_at=None)
    write("default", process.pk, ANY, {"started_at": FirstNow()})
    assert fresh(process).started_at is not None


def test_the_peak_is_of_the_numbers_before(process: Process) -> None:
    for current, total, peak in ((5, 10, 0), (6, 100, 0.5), (7, None, 0.5), (8, 8, 0.5), (8, 16, 1), (0, 0, 1)):
        # In either order: MariaDB assigns from left to right.
        write("default", process.pk, ANY, {"current": current, "total": total, "percent_peak": Peak()})
        assert fresh(process).percent_peak == peak


def test_it_tells_of_a_request_to_cancel(process: Process) -> None:
    work = start()
    executing = claim(work)
    guard = Guard(ACTIVE, token=executing.token)
    for event in (None, NewEvent("log")):
        Attempt.objects.update(cancel_requested_at=None)
        written = write("default", work.pk, guard, {}, event)
        assert written is not None
        assert written.cancel_requested is False
        Attempt.objects.update(cancel_requested_at=timezone.now())
        written = write("default", work.pk, guard, {}, event)
        assert written is not None
        assert written.cancel_requested is True


def test_it_costs_one_statement_or_three(process: Process) -> None:
    with CaptureQueriesContext(connection) as queries:
        write("default", process.pk, ANY, {"unit": "x"}, NewEvent("log"))
    assert len(queries) == (1 if connection.vendor == "postgresql" else 3)


def test_statements_are_built_once(process: Process) -> None:
    write("default", process.pk, ANY, {"unit": "x"}, NewEvent("log"))
    built = writes._statements.cache_info().misses
    write("default", process.pk, ANY, {"unit": "y"}, NewEvent("other", "n", "m", True, {"a": 1}))
    assert writes._statements.cache_info().misses == built


# What the database gives up in favour of another transaction (fault 34)


class Reset(Exception):
    sqlstate = "40P01"


@contextmanager
def given_up(times: int, table: str, code: object = 1213) -> Iterator[list[str]]:
    """Let the database give up what changes ``table``, so many times."""
    failed: list[str] = []

    def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if len(failed) < times and table in sql and not sql.startswith("SELECT"):
            failed.append(sql)
            if code == "40P01":
                raise OperationalError("deadlock detected") from Reset()
            raise OperationalError(code, "Deadlock found when trying to get lock; try restarting transaction")
        return run(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield failed


PROCESS, ATTEMPT = Process._meta.db_table, Attempt._meta.db_table


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", [1020, 1205, 1213, "40P01"])
@pytest.mark.parametrize(
    ("table", "verb"),
    [
        (PROCESS, lambda p: p.milestone("x")),
        (PROCESS, lambda p: p.advance(2)),
        (PROCESS, lambda p: p.set_message("a", "b")),
        (ATTEMPT, lambda p: p.succeed(1)),
        (ATTEMPT, lambda p: p.fail("x")),
        (ATTEMPT, lambda p: fresh(p).cancel(force=True)),
        (ATTEMPT, lambda p: fresh(p).cancel()),
        (PROCESS, lambda p: start(idempotency_key="k")),
        (PROCESS, lambda p: start().cancel()),
    ],
)
def test_what_was_given_up_is_done_again(table: str, verb: Callable[[Process], Any], code: object) -> None:
    executing = claim(start())
    with inside(executing) as process, given_up(2, table, code) as failed:
        verb(process)
    assert len(failed) == 2
    check_invariants()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("wait", [True, False])
def test_an_expiry_that_was_given_up_is_done_again(wait: bool) -> None:
    process = start(max_duration=60)
    claim(process)
    Process.objects.update(expires_at=timezone.now() - timedelta(seconds=2))
    with given_up(2, ATTEMPT) as failed:
        assert process._expire_if_overdue(wait=wait) is True
    assert len(failed) == 2
    check_invariants()


@pytest.mark.django_db(transaction=True)
def test_executions_are_settled_all_the_same() -> None:
    for body in (lambda p: p.requeue(), lambda p: 1 / 0):
        process = start(max_attempts=2)
        with given_up(1, ATTEMPT) as failed:
            executing = claim(process)
        assert len(failed) == 1
        with given_up(1, ATTEMPT) as failed:
            settle(executing, body)
        assert len(failed) == 1
        assert fresh(process).status == Status.PENDING
        check_invariants()


@pytest.mark.django_db(transaction=True)
def test_patience_ends(process: Process) -> None:
    with given_up(100, PROCESS) as failed, pytest.raises(OperationalError):
        process.milestone("x")
    assert len(failed) == retrying.TURNS
    with given_up(1, PROCESS, code=1146) as failed, pytest.raises(OperationalError):
        process.milestone("x")
    assert len(failed) == 1


@pytest.mark.django_db(transaction=True)
def test_a_transaction_of_the_callers_is_lost_as_a_whole(process: Process) -> None:
    with given_up(1, PROCESS) as failed, pytest.raises(OperationalError), transaction.atomic():
        process.milestone("x")
    assert len(failed) == 1


# The clock


def test_the_clock_is_utc_and_the_databases() -> None:
    now = clock.read("default")
    assert now.tzinfo is not None
    assert abs((now - timezone.now()).total_seconds()) < 5
    row = Process.objects.start("x")
    later = Process.objects.annotate(moment=clock.DatabaseNow(), later=clock.DatabaseNow(60.5)).get(pk=row.pk)
    assert timedelta(seconds=60.4) < later.later - later.moment < timedelta(seconds=60.6)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_no_time_zone_moves_it(zone: str, settings: Any) -> None:
    settings.TIME_ZONE = zone
    with timezone.override(zone):
        process = Process.objects.start("x", max_duration=60)
        assert 59 < (fresh(process).expires_at - timezone.now()).total_seconds() <= 60.5  # type: ignore[operator]
        assert not Process.objects.overdue().exists()
        Process.objects.update(expires_at=timezone.now() - timedelta(seconds=2))
        assert Process.objects.overdue().exists()


# Constraints

BROKEN: list[dict[str, Any]] = [
    {"status": "nonsense"},
    {"status": ""},
    {"status": "SUCCEEDED"},
    {"status": "succeeded"},
    {"status": "running", "finished_at": timezone.now()},
    {"status": "pending", "finished_at": timezone.now()},
    {"current": -1.0},
    {"total": -1.0},
    {"max_attempts": 0},
    {"last_seq": -1},
    {"revision": -1},
    {"samples": -1},
    {"attempt_number": -1},
    {"status": "pending", "attempt_token": "x"},
    {"status": "failed", "finished_at": timezone.now(), "attempt_token": "x"},
]


@pytest.mark.parametrize("change", BROKEN, ids=str)
def test_a_broken_process_is_refused(process: Process, change: dict[str, Any]) -> None:
    # Some databases call a number out of range a data error.
    with pytest.raises(DatabaseError), transaction.atomic():
        Process.objects.filter(pk=process.pk).update(**change)


def test_two_events_of_one_number_are_refused(process: Process) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Event.objects.create(process=process, seq=1, type="log", happened_at=timezone.now())


@pytest.mark.parametrize(
    "change", [{"outcome": "nonsense"}, {"outcome": "failed"}, {"finished_at": timezone.now()}], ids=str
)
def test_a_broken_attempt_is_refused(change: dict[str, Any]) -> None:
    claim(start())
    with pytest.raises(IntegrityError), transaction.atomic():
        Attempt.objects.update(**change)


def test_two_attempts_of_one_number_or_token_are_refused() -> None:
    executing = claim(start())
    for given in ({"number": 1, "token": "other"}, {"number": 2, "token": executing.token}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Attempt.objects.create(
                process_id=executing.process_id, attempt_number=1, started_at=timezone.now(), **given
            )


@pytest.mark.parametrize("column", ["idempotency_hash", "retry_slot", "key"])
def test_what_is_unique_is_unique(process: Process, column: str) -> None:
    Process.objects.filter(pk=process.pk).update(**({} if column == "key" else {column: 7}))  # type: ignore[arg-type]
    other = Process.objects.start("y")
    value = process.key if column == "key" else 7
    with pytest.raises(IntegrityError), transaction.atomic():
        Process.objects.filter(pk=other.pk).update(**{column: value})


@pytest.mark.skipif(connection.vendor == "sqlite", reason="Nobody can cut a connection to a file.")
@pytest.mark.django_db(transaction=True)
def test_a_report_on_a_connection_that_was_cut_is_written_on_a_new_one() -> None:
    process = Process.objects.start("Cut")
    for report in (lambda: process.log("one"), lambda: process.set_message("a", "b"), lambda: process.milestone("two")):
        with connection.cursor() as cursor:
            postgres = connection.vendor == "postgresql"
            cursor.execute("SELECT pg_backend_pid()" if postgres else "SELECT CONNECTION_ID()")
            number = cursor.fetchone()[0]

        def cut(number: int = number, postgres: bool = postgres) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)" if postgres else "KILL %s", [number])

        elsewhere(cut)
        report()
    assert [event.type for event in process.event_set.order_by("seq")] == ["milestone", "log", "message", "milestone"]
