"""What a database that goes away, or gives a transaction up, at the worst moment leaves behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.db.models import QuerySet

from django_progress import beside, claiming, dispatch, engines, leases, signals, tasks
from django_progress.models import Attempt, Process
from django_progress.status import Status
from tests.executing import claim, execute, fresh, inside, start, types
from tests.unit.conftest import FakeEngine

connection = connections["default"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

parallel = pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer: there hints wait.")


class Lost(Exception):
    """What psycopg raises has a code; None where it has found out by itself."""

    sqlstate = None


def gone() -> OperationalError:
    error = OperationalError(2013, "The server closed the connection unexpectedly.")
    error.__cause__ = Lost()
    return error


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next commit reaches the database; its answer does not come back."""
    connection.ensure_connection()
    commit = connection._commit

    def lose() -> None:
        monkeypatch.setattr(connection, "_commit", commit)
        commit()
        raise gone()

    monkeypatch.setattr(connection, "_commit", lose)


@contextmanager
def given_up_once(target: Any, name: str, model: Any = None) -> Iterator[None]:
    """Give the transaction up, in favour of another one, at the first call."""
    before, times = getattr(target, name), []

    def once(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not times and (model is None or self.model is model):
            times.append(1)
            raise OperationalError(1213, "Deadlock found when trying to get lock")
        return before(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, once)
        yield
    assert times


def test_fault_32_a_start_cut_at_its_commit_starts_once(cut: None) -> None:
    engine = engines.get_engine()
    assert isinstance(engine, FakeEngine)
    started: list[Process] = []

    def note(process: Process, **kwargs: Any) -> None:
        started.append(process)

    signals.process_started.connect(note)
    try:
        process = start()
    finally:
        signals.process_started.disconnect(note)
    assert Process.objects.get() == process
    assert engine.published == [process.task_id]
    assert started == [process]


def test_fault_32_a_claim_cut_at_its_commit_goes_on(monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    process = fresh(start())
    request.getfixturevalue("cut")
    executing = claiming.claim(str(process.key), task_id=process.task_id)
    assert executing is not None
    attempt = Attempt.objects.get()
    assert (attempt.token, attempt.pk) == (executing.token, executing.attempt_id)
    with inside(executing) as mine:
        mine.succeed()
    assert fresh(process).status == Status.SUCCEEDED


def test_fault_34_a_claim_that_is_repeated_counts_once() -> None:
    process = start()
    with given_up_once(QuerySet, "create", Attempt):
        claim(process)
    assert process.event_set.get(type="attempt").details == {"attempt": 1, "max_attempts": 1}
    assert fresh(process).attempt_number == 1


def test_fault_34_a_claim_that_is_repeated_keeps_what_was_done_before_it_was_handed_on() -> None:
    process = start()

    def body(process: Process) -> None:
        process.set_progress(50, 100)
        process.requeue()

    execute(process, body)
    with given_up_once(QuerySet, "create", Attempt):
        claim(process)
    assert fresh(process).current == 50


def test_fault_34_an_end_that_is_repeated_keeps_the_numbers() -> None:
    with inside(claim(start(total=10))) as process:
        process.advance(1)
        process.advance(8)
        with given_up_once(QuerySet, "update", Attempt):
            process.fail("x")
    assert fresh(process).current == 9


def test_fault_34_a_message_that_is_repeated_keeps_the_numbers() -> None:
    with inside(claim(start(total=10))) as process:
        process.advance(1)
        process.advance(8)
        with given_up_once(Process, "_put"):
            process.set_message("a", "b")
        process.advance(1)
        process.checkpoint()
    assert fresh(process).current == 10


@parallel
def test_fault_30_a_body_that_returns_while_the_database_is_away_has_succeeded(monkeypatch: pytest.MonkeyPatch) -> None:
    process = start()
    executing = claim(process)
    connect, until = connection.get_new_connection, time.monotonic() + 1

    def refused(params: Any) -> Any:
        if time.monotonic() < until:
            raise gone()
        return connect(params)

    monkeypatch.setattr(connection, "get_new_connection", refused)
    connection.close()
    assert tasks._settled(executing, lambda: dispatch.returned(executing, "done")) is None
    assert fresh(process).status == Status.SUCCEEDED


@parallel
def test_a_hint_whose_own_commit_fails_is_written_in_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    with inside(claim(start())) as process, transaction.atomic():
        process.log("one")
        copy = connection.__dict__[beside.ATTRIBUTE].connection

        def lose() -> None:
            copy.connection.close()
            raise gone()

        monkeypatch.setattr(copy, "_commit", lose)
        process._ticks().added = 3.0
        process.set_message("Stage", "two")
    assert fresh(process).messages == [("Stage", "two")]
    assert fresh(process).current == 3


@parallel
def test_a_hint_that_is_refused_beside_makes_no_rate() -> None:
    executing = claim(start(total=10_000))
    with inside(executing) as process:
        process.advance(1)
        for _ in range(3):
            executing.ticks.flushed_at -= 1  # A second later, six more are done.
            with transaction.atomic():
                Process.objects.select_for_update().get(pk=process.pk)
                process.advance(6)
    rate = fresh(process).rate
    assert rate is not None
    assert 3 < rate < 7


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's spelling")
@pytest.mark.parametrize(
    ("before", "within"),
    [
        ("", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT 1"),
    ],
)
def test_an_isolation_that_django_does_not_know_of_is_respected(before: str, within: str) -> None:
    executing = claim(start())
    with connection.cursor() as cursor:
        cursor.execute(before or "SELECT 1")
    try:
        with inside(executing) as process, transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(within)
            Process.objects.count()
            process.log("hint")
            process.milestone("reached")
    finally:
        connection.close()
    assert types(process)[-2:] == ["log", "milestone"]


@pytest.mark.skipif(connection.vendor != "mysql", reason="MariaDB's spelling")
def test_an_isolation_of_the_session_is_respected() -> None:
    executing = claim(start())
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET SESSION innodb_snapshot_isolation = ON")
    try:
        with inside(executing) as process, transaction.atomic():
            Process.objects.count()
            process.log("hint")
            process.milestone("reached")
    finally:
        connection.close()
    assert types(process)[-2:] == ["log", "milestone"]


def test_a_heart_that_could_not_start_is_started_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    executing, heart = claim(start()), leases.Heart()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            heart.add(executing, "default")
    heart.discard(executing)
    heart.add(executing, "default")
    try:
        assert heart._thread is not None
        assert heart._thread.is_alive()
    finally:
        heart.discard(executing)
