"""What rows tell of a wait: who is ahead, who listens, what went wrong, and how long nothing was heard."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_progress import presence, waiting
from django_progress.clock import DatabaseNow
from django_progress.models import Attempt, Process, Worker
from django_progress.sweep import sweep
from tests.executing import claim, execute, fresh, inside, start
from tests.unit.conftest import FakeEngine

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


def change(process: Process, **row: Any) -> Process:
    """Write into its row what no verb does."""
    Process.objects.filter(pk=process.pk).update(**row)
    return fresh(process)


def wait(process: Process) -> waiting.Wait:
    found = process.snapshot().wait
    assert found is not None
    return found


class TestAhead:
    def test_older_ones_in_the_same_queue(self) -> None:
        first, second, third = start(), start(), start()
        assert [wait(process).ahead for process in (first, second, third)] == [0, 1, 2]
        claim(first)
        assert wait(third).ahead == 1
        second.cancel()
        assert wait(third).ahead == 0

    @pytest.mark.parametrize(
        ("row", "count"),
        [
            ({}, 1),
            ({"queue": "other"}, 0),
            ({"queue": ""}, 0),
            ({"next_attempt_at": DatabaseNow(60)}, 0),
            ({"next_attempt_at": DatabaseNow(-1)}, 1),
            ({"expires_at": DatabaseNow(-1)}, 0),
            ({"expires_at": DatabaseNow(60)}, 1),
        ],
    )
    def test_only_who_a_worker_would_take(self, row: dict[str, Any], count: int) -> None:
        change(start(), **row)
        assert wait(start()).ahead == count

    def test_no_more_are_counted_than_anybody_wants_to_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waiting, "MOST", 3)
        for _ in range(5):
            start()
        assert wait(start()).ahead == 3

    def test_nothing_is_counted_before_its_time(self) -> None:
        start()
        assert wait(change(start(), next_attempt_at=DatabaseNow(60))).ahead is None
        assert wait(change(start(), next_attempt_at=DatabaseNow(-1))).ahead == 1

    def test_nothing_is_known_of_an_unknown_queue(self) -> None:
        change(start(), queue="")
        found = wait(change(start(), queue=""))
        assert (found.ahead, found.listening) == (None, None)

    def test_eager_execution_has_no_queue(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        start()
        process = start()
        monkeypatch.setattr(engine, "is_eager", lambda: True)
        found = wait(process)
        assert (found.ahead, found.listening) == (None, None)


class TestListening:
    def test_a_worker_that_is_alive_and_takes_the_queue(self) -> None:
        process = start()
        assert wait(process).listening is False
        presence.note("a@host", ["default", "other"])
        assert wait(process).listening is True
        Worker.objects.update(seen_at=DatabaseNow(-3600))
        assert wait(process).listening is False

    @pytest.mark.parametrize(
        ("queue", "taken", "listens"),
        [
            ("mail", ["mail"], True),
            ("mail", ["bulk", "mail"], True),
            ("mail", ["email", "mail2", "mail.slow"], False),
            ("mail", [], False),
            ("größe", ["größe"], True),
            ("größe", ["grosse"], False),
            ('a"b\\c%', ['a"b\\c%'], True),
            ("a%c", ["abc"], False),
            ("a_c", ["abc"], False),
        ],
    )
    def test_whole_names_are_compared(self, queue: str, taken: list[str], listens: bool) -> None:
        presence.note("a@host", taken)
        assert Worker.objects.listening_to(queue).exists() is listens


class TestSetback:
    def test_a_worker_that_was_lost(self) -> None:
        process = start(max_attempts=3, retry_delay=60)
        claim(process)
        Attempt.objects.update(lease_until=DatabaseNow(-60), doubted_at=DatabaseNow(-60))
        sweep()
        found = wait(process)
        assert (found.outcome, found.setback, found.ahead) == ("lost", "The worker was lost.", None)
        body = process.snapshot().as_json()
        assert body["waiting"]["after"] == {"outcome": "lost", "message": "The worker was lost."}

    def test_an_attempt_that_took_too_long(self) -> None:
        process = start(max_attempts=3, retry_delay=60, attempt_timeout=5)
        claim(process)
        Attempt.objects.update(timeout_at=DatabaseNow(-1))
        sweep()
        assert (wait(process).outcome, wait(process).setback) == ("timed_out", "It took too long.")

    def test_an_exception_tells_nothing_but_that(self) -> None:
        process = start(max_attempts=3)

        def body(process: Process) -> None:
            raise RuntimeError("hunter2")

        execute(process, body)
        assert (wait(process).outcome, wait(process).setback) == ("failed", "Something went wrong on our side.")

    def test_the_last_attempt_counts(self) -> None:
        process = start(max_attempts=3)
        execute(process, lambda p: p.attempt(lambda: False))
        claim(process)
        Attempt.objects.filter(outcome="").update(lease_until=DatabaseNow(-60), doubted_at=DatabaseNow(-60))
        sweep()
        assert wait(process).outcome == "lost"

    def test_handing_on_is_none(self) -> None:
        process = start(max_attempts=3)
        execute(process, lambda p: p.attempt(lambda: False))
        assert wait(process).setback == "It did not succeed."
        execute(process, lambda p: p.requeue())
        assert (wait(process).outcome, wait(process).setback) == ("", "")

    def test_a_first_attempt_has_none(self) -> None:
        assert start().snapshot().as_json()["waiting"] == {"ahead": 0, "worker_listening": False, "after": None}


class TestQuiet:
    def test_a_beat_is_no_news_and_a_report_is(self) -> None:
        process = start()
        executing = claim(process)
        change(process, updated_at=DatabaseNow(-90))
        Attempt.objects.update(lease_until=DatabaseNow(60))
        quiet = process.snapshot().quiet
        assert quiet is not None
        assert 90 <= quiet < 100
        assert process.snapshot().as_json()["quiet_seconds"] == int(quiet)
        with inside(executing):
            fresh(process).milestone("ours")
        quiet = process.snapshot().quiet
        assert quiet is not None
        assert quiet < 30

    def test_of_what_does_not_execute_none_is_told(self) -> None:
        pending, without, ended = start(), Process.objects.start("Waiting for the courier"), start()
        execute(ended, lambda p: None)
        for process in (pending, without, ended):
            shown = process.snapshot()
            assert (shown.quiet, shown.is_silent) == (None, False)
            assert shown.as_json()["quiet_seconds"] is None

    def test_nor_of_what_is_over_and_not_stored_as_such(self) -> None:
        process = start(max_duration=60)
        claim(process)
        Attempt.objects.update(lease_until=DatabaseNow(-1))
        change(process, expires_at=DatabaseNow(-1))
        shown = process.snapshot()
        assert (shown.status, shown.quiet, shown.is_silent) == ("expired", None, False)

    def test_a_worker_whose_lease_has_run_out_is_silent(self) -> None:
        process = start()
        claim(process)
        assert not process.snapshot().is_silent
        Attempt.objects.update(lease_until=DatabaseNow(-1))
        assert process.snapshot().is_silent
        assert process.snapshot().as_json()["attempt"]["worker_silent"] is True

    def test_the_lease_of_an_earlier_attempt_says_nothing(self) -> None:
        process = start(max_attempts=3)
        execute(process, lambda p: p.attempt(lambda: False))
        Attempt.objects.update(lease_until=DatabaseNow(-1))
        claim(process)
        assert not process.snapshot().is_silent


def queries_of(process: Process) -> int:
    with CaptureQueriesContext(connection) as queries:
        process.snapshot().as_json()
    return len(queries)


def test_it_costs_one_query_and_only_while_it_waits() -> None:
    process = start(max_attempts=3)
    assert queries_of(process) == 3
    claim(process)
    assert queries_of(process) == 2
