"""Hints made inside the caller's ``atomic()``: seen by others at once, and never at the price of a deadlock."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.test import TestCase
from django.utils.connection import ConnectionDoesNotExist

from django_progress import beside, failpoints
from django_progress.exceptions import ProcessCancelled, ProcessSuperseded
from django_progress.models import Process
from tests.executing import claim, fresh, inside, start, types
from tests.races.threads import elsewhere

connection = connections["default"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

parallel = pytest.mark.skipif(
    "sqlite" in str(connections.settings["default"]["ENGINE"]), reason="SQLite has one writer: there hints wait."
)


@pytest.fixture
def body() -> Iterator[Process]:
    """The process whose body this test is."""
    with inside(claim(start(total=100))) as process:
        yield process


@pytest.fixture
def tried() -> Iterator[list[int]]:
    """Grows with each hint that is tried on the second connection."""
    times: list[int] = []
    with failpoints.armed("beside.before", lambda: times.append(1)):
        yield times


def others_see(process: Process) -> tuple[float, list[tuple[str, str]], list[str]]:
    row = elsewhere(lambda: fresh(process))
    return row.current, row.messages, elsewhere(lambda: types(process))


HINTS: dict[str, Callable[[Process], Any]] = {
    "advance": lambda process: process.advance(7),
    "set_progress": lambda process: process.set_progress(7),
    "track": lambda process: list(process.track(range(7), total=100)),
    "set_message": lambda process: process.set_message("Stage", "Seventh"),
    "log": lambda process: process.log("Seven"),
    "checkpoint": lambda process: (setattr(process._ticks(), "added", 7.0), process.checkpoint()),
}


@parallel
@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_is_seen_before_the_caller_commits_and_stays_when_it_rolls_back(hint: str, body: Process) -> None:
    before = others_see(body)
    with transaction.atomic():
        HINTS[hint](body)
        seen = others_see(body)
        assert seen != before
        transaction.set_rollback(True)
    assert others_see(body) == seen
    assert body.last_seq == fresh(body).last_seq


@parallel
def test_milestones_results_and_ends_are_the_callers(body: Process) -> None:
    before = others_see(body)
    with transaction.atomic():
        body.milestone("halfway")
        body.set_result(1)
        body.redirect_to("/here/")
        body.succeed()
        assert others_see(body) == before
        assert elsewhere(lambda: fresh(body)).is_active
        transaction.set_rollback(True)
    assert others_see(body) == before
    assert fresh(body).success_url == ""


@parallel
def test_a_caller_that_holds_the_row_by_a_report_is_not_waited_for(body: Process, tried: list[int]) -> None:
    with transaction.atomic():
        body.log("beside")
        body.milestone("touched")
        for number in range(20):
            body.log(str(number))
    assert tried == [1]
    assert types(body).count("log") == 21


@parallel
def test_a_caller_that_holds_the_row_in_its_own_way_waits_once(body: Process, tried: list[int]) -> None:
    begun = time.monotonic()
    with transaction.atomic():
        Process.objects.select_for_update().get(pk=body.pk)
        for number in range(20):
            body.log(str(number))
    assert tried == [1]
    assert time.monotonic() - begun < 5
    with transaction.atomic():
        body.log("the next transaction begins anew")
    assert tried == [1, 1]


@parallel
def test_a_savepoint_that_is_rolled_back_lets_go_of_the_row(body: Process, tried: list[int]) -> None:
    with transaction.atomic():
        with transaction.atomic():
            body.milestone("touched")
            transaction.set_rollback(True)
        body.log("seen at once")
        assert "log" in others_see(body)[2]
    assert tried == [1]


@parallel
def test_somebody_else_who_holds_the_row_delays_and_stops_nothing(body: Process) -> None:
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Process.objects.select_for_update().get(pk=body.pk)
            held.set()
            go.wait(30)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    with pytest.MonkeyPatch.context() as patch, transaction.atomic():
        # Let go once the second connection has given up.
        patch.setattr(beside.logger, "debug", lambda *args: go.set())
        body.log("in the caller's")
    holder.join(30)
    assert types(body)[-1] == "log"


@parallel
def test_a_cancel_asked_for_meanwhile_stops_it_at_the_next_hint(body: Process) -> None:
    with transaction.atomic():
        body.log("one")
        assert elsewhere(lambda: fresh(body).cancel()) is False
        with pytest.raises(ProcessCancelled):
            body.log("two")


@parallel
def test_an_attempt_that_was_superseded_writes_nothing(body: Process, tried: list[int]) -> None:
    Process.objects.filter(pk=body.pk).update(attempt_token="f" * 32)
    before = others_see(body)
    with pytest.raises(ProcessSuperseded), transaction.atomic():
        body.log("too late")
    assert tried == [1]
    assert others_see(body) == before


@parallel
def test_nothing_is_left_on_the_second_connection(body: Process) -> None:
    with transaction.atomic():
        body.log("beside")
    with pytest.raises(ConnectionDoesNotExist):
        connections["default beside"]
    copy = connection.__dict__[beside.ATTRIBUTE].connection
    assert copy.connection is not None
    connection.close()
    assert copy.connection is None
    with transaction.atomic():
        body.log("and again")
    assert connection.__dict__[beside.ATTRIBUTE].connection is copy
    connection.close()
    assert copy.connection is None


@parallel
def test_a_second_connection_that_was_lost_is_opened_again(body: Process) -> None:
    with transaction.atomic():
        body.log("one")
        copy = connection.__dict__[beside.ATTRIBUTE].connection
        copy.connection.close()
        body.log("two")
    with transaction.atomic():
        body.log("three")
        assert others_see(body)[2].count("log") == 3


@parallel
def test_a_database_that_gives_no_second_connection_is_asked_once(
    body: Process, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    connection.__dict__.pop(beside.ATTRIBUTE, None)
    with transaction.atomic():
        with monkeypatch.context() as patch:
            patch.setattr(type(connection), "connect", refuse)
            body.log("one")
        body.log("two")
    assert tried == []
    assert types(body).count("log") == 2


def refuse(self: Any) -> None:
    raise OperationalError("too many connections")


@parallel
def test_a_pool_is_not_copied(body: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.__dict__.pop(beside.ATTRIBUTE, None)
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | {"pool": True})
        copy = beside._copied(connection)
    assert "pool" not in copy.settings_dict["OPTIONS"]


@parallel
def test_a_forked_child_leaves_its_parents_connection_alone(body: Process) -> None:
    with transaction.atomic():
        body.log("beside")
    pid = os.fork()
    if pid == 0:
        # The main connection is dealt with by whoever forks (Celery does); here only the copy counts.
        kept, connection.connection = connection.connection, None
        connection.close()
        os._exit(int(kept is None))
    assert os.waitpid(pid, 0)[1] == 0
    with transaction.atomic():
        body.log("still open")
        assert others_see(body)[2].count("log") == 2


def test_without_an_execution_everything_is_the_callers(tried: list[int]) -> None:
    process = Process.objects.start("Moved from anywhere")
    with transaction.atomic():
        process.log("one")
        transaction.set_rollback(True)
    assert types(process) == ["milestone"]
    assert tried == []


def test_a_claim_that_is_not_committed_can_t_be_seen_beside(tried: list[int]) -> None:
    with transaction.atomic(), inside(claim(start())) as process:
        process.log("one")
        process.advance(1)
    assert tried == []
    assert "log" in types(process)


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_above_read_committed_everything_is_the_callers(
    level: str, body: Process, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not beside.is_above_read_committed(connection)
    monkeypatch.setattr(connection, "isolation_level", level, raising=False)
    with transaction.atomic():
        body.log("one")
    assert tried == []


@pytest.mark.skipif("sqlite" not in str(connections.settings["default"]["ENGINE"]), reason="SQLite's way only")
def test_on_sqlite_hints_wait_for_the_commit(body: Process, tried: list[int]) -> None:
    before = others_see(body)
    with transaction.atomic():
        body.log("one")
        assert others_see(body) == before
    assert others_see(body) != before
    assert tried == []


@pytest.mark.usefixtures("engine")
class TestInATestCase(TestCase):
    """As a project tests its own tasks: nothing of it is ever committed."""

    def test_everything_is_the_callers(self) -> None:
        tried: list[int] = []
        executing = claim(start())
        executing.committed = True  # As one that began before the test.
        with failpoints.armed("beside.before", lambda: tried.append(1)), inside(executing) as process:
            process.log("one")
            with transaction.atomic():
                process.log("two")
        assert tried == []
        assert types(process).count("log") == 2
