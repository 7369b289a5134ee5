"""The checker: whatever is broken on purpose is seen, and nothing else."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_progress import invariants
from django_progress.clock import DatabaseNow, read
from django_progress.invariants import find_violations, violations
from django_progress.models import Attempt, Event, Process
from django_progress.sweep import sweep
from tests.executing import Work, claim, execute, fresh, settle, start
from tests.races.threads import together
from tests.unit.conftest import FakeEngine

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


def waiting() -> Process:
    return start()


def running() -> Process:
    process = start()
    claim(process)
    return fresh(process)


def plain() -> Process:
    """One without a task."""
    return Process.objects.start("By hand")


def ended() -> Process:
    """One with three milestones, two attempts and an end."""
    process = start(max_attempts=2)

    def fails(process: Process) -> None:
        process.milestone("halfway")
        raise LookupError

    def works(process: Process) -> str:
        process.milestone("nearly")
        return "done"

    execute(process, fails)
    execute(process, works)
    return fresh(process)


def rows(process: Process) -> Any:
    return Process.objects.filter(pk=process.pk)


def events(process: Process, **which: Any) -> Any:
    return Event.objects.filter(process=process, **which)


def attempts(process: Process, **which: Any) -> Any:
    return Attempt.objects.filter(process=process, **which)


def another_attempt(process: Process, **fields: Any) -> None:
    """Insert an attempt that nothing else knows of."""
    last = attempts(process).order_by("number").last()
    last.pk = None
    last.number += 1
    last.token = f"token {last.number}"
    for name, value in fields.items():
        setattr(last, name, value)
    last.save(force_insert=True)


def another_event(process: Process, **fields: Any) -> None:
    """Insert an event by the rules."""
    number = fresh(process).last_seq + 1
    Event.objects.create(process=process, seq=number, happened_at=read("default"), **fields)
    rows(process).update(last_seq=number, revision=number)


BROKEN: list[tuple[Callable[[], Process], Callable[[Process], Any], list[str]]] = [
    # I1: who waits can be found, who runs is held.
    (waiting, lambda p: rows(p).update(due_at=None), ["I1: it waits without"]),
    (waiting, lambda p: rows(p).update(task_id=""), ["I1: it waits without"]),
    (waiting, lambda p: rows(p).update(task_name=""), ["I1: it waits without"]),
    (
        running,
        lambda p: (rows(p).update(attempt_token=""), attempts(p).update(outcome="lost", finished_at=read("default"))),
        ["I1: its task runs, and no attempt holds it"],
    ),
    # I2: no gaps.
    (ended, lambda p: events(p, seq=3).delete(), ["I2: 6 events from 1 for the numbers up to 7"]),
    (waiting, lambda p: rows(p).update(last_seq=2, revision=2), ["I2: 1 events from 1 for the numbers up to 2"]),
    (
        plain,
        lambda p: (another_event(p, type="log"), events(p, seq=1).delete()),
        [
            "I2: its log begins with event 2",
            "I2: its log does not begin with its start",
            "I2: it shows the milestone 'started', and has reached None",
        ],
    ),
    (plain, lambda p: rows(p).update(revision=0), ["I2: revision 0 is behind event 1"]),
    (ended, lambda p: events(p, seq=1).update(name="begun"), ["I2: its log does not begin with its start"]),
    (ended, lambda p: rows(p).update(milestone_name="halfway"), ["I2: it shows the milestone 'halfway'"]),
    # I3: one end, the last event, the row's.
    (ended, lambda p: another_event(p, type="failed"), ["I3: 2 terminal events", "I3: its last event is 'failed'"]),
    (ended, lambda p: another_event(p, type="log"), ["I3: its last event is 'log'"]),
    (ended, lambda p: rows(p).update(status="failed"), ["I3: its last event is 'succeeded'"]),
    (
        ended,
        lambda p: events(p, type="succeeded").update(type="log"),
        ["I3: 0 terminal events", "I3: its last event is 'log'"],
    ),
    (plain, lambda p: another_event(p, type="expired"), ["I3: 1 terminal events"]),
    (plain, lambda p: rows(p).update(status="failed", finished_at=read("default")),
     ["I3: 0 terminal events", "I3: its last event is 'milestone'"]),
    # I4: one attempt at a time, and the log knows each of them.
    (running, lambda p: rows(p).update(attempt_token="someone"), ["I4: another attempt executes than the one"]),
    (running, lambda p: rows(p).update(attempt_token="someone", task_name=""), ["I4: another attempt executes"]),
    (
        running,
        lambda p: attempts(p).update(outcome="failed", finished_at=read("default")),
        ["I4: 0 attempts execute", "I4: another attempt executes than the one that holds it"],
    ),
    (
        ended,
        lambda p: attempts(p, number=2).update(outcome="", finished_at=None),
        ["I4: 1 attempts execute"],
    ),
    (
        running,
        lambda p: (another_attempt(p), rows(p).update(executions=2), another_event(p, type="attempt")),
        ["I4: 2 attempts execute", "I4: an attempt began before the one before it had ended"],
    ),
    (ended, lambda p: attempts(p, number=1).delete(), ["I4: 1 attempts, numbered 2 to 2, for 2 executions"]),
    (ended, lambda p: attempts(p, number=2).update(number=7), ["I4: 2 attempts, numbered 1 to 7, for 2 executions"]),
    (
        ended,
        lambda p: rows(p).update(executions=3),
        ["I4: 2 claims in its log, 3", "I4: 2 attempts, numbered 1 to 2, for 3"],
    ),
    (ended, lambda p: attempts(p, number=1).update(number=0), ["I4: 2 attempts, numbered 0 to 2, for 2 executions"]),
    (ended, lambda p: events(p, type="attempt", seq=2).update(type="log"), ["I4: 1 claims in its log, 2 executions"]),
    (ended, lambda p: attempts(p).update(outcome="succeeded"), ["I4: 2 attempts succeeded"]),
    (
        ended,
        lambda p: attempts(p, number=1).update(finished_at=DatabaseNow(60)),
        ["I4: an attempt began before the one before it had ended"],
    ),
    # The row itself.
    (ended, lambda p: rows(p).update(due_at=read("default")), ["row: it is due, and waits for nothing"]),
    (running, lambda p: rows(p).update(next_attempt_at=read("default")), ["row: it is due, and waits for nothing"]),
    (ended, lambda p: rows(p).update(retry_slot=1), ["row: it has ended, and keeps the slot of a retry"]),
    (running, lambda p: rows(p).update(percent_peak=1.5), ["row: the share 1.5 was shown"]),
    (running, lambda p: rows(p).update(percent_peak=-0.1), ["row: the share -0.1 was shown"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "spoil", "seen"), BROKEN)
def test_what_is_broken_is_seen(make: Any, spoil: Any, seen: list[str]) -> None:
    for make_another in (waiting, running, plain, ended):
        make_another()
    process = make()
    assert find_violations(margin=0) == []
    spoil(process)
    found = find_violations(margin=0)
    assert {violation.process for violation in found} <= {str(process.key)}
    assert len(found) == len(seen), found
    for violation, start_of in zip(found, seen, strict=True):
        assert f"{violation.invariant}: {violation.text}".startswith(start_of)


def test_an_event_of_ones_own_is_no_claim() -> None:
    process = running()
    process.milestone("x", type="attempt")
    assert find_violations() == []


LATE: list[tuple[Callable[[], Process], Callable[[Process, float], Any], str]] = [
    (plain, lambda p, gone: rows(p).update(expires_at=DatabaseNow(-gone)), "its deadline has been passed"),
    (waiting, lambda p, gone: rows(p).update(expires_at=DatabaseNow(-gone)), "its deadline has been passed"),
    (waiting, lambda p, gone: rows(p).update(due_at=DatabaseNow(-gone)), "it has been due"),
    (running, lambda p, gone: attempts(p).update(lease_until=DatabaseNow(-gone)), "its attempt has been silent"),
    (running, lambda p, gone: attempts(p).update(timeout_at=DatabaseNow(-gone)), "its attempt has been taking"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "spoil", "seen"), LATE)
def test_what_no_sweep_came_for_is_seen(settings: Any, make: Any, spoil: Any, seen: str) -> None:
    # A sweep every 5 s, and on SQLite it looks twice, a beat apart: 205 s, and the margin. All within a minute.
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 5, "HEARTBEAT": 100}
    process = make()
    spoil(process, 205 + 30 - 60)
    assert find_violations(margin=30) == []
    spoil(process, 205 + 30 + 60)
    [violation] = find_violations(margin=30)
    assert (violation.invariant, violation.process) == ("I1", str(process.key))
    assert violation.text.startswith(seen)
    told = re.search(r" for (\d+) s", violation.text)
    assert told is not None
    assert 295 <= int(told[1]) < 355
    assert find_violations(margin=150) == []
    assert find_violations(margin=None) == []


def test_an_end_is_never_late() -> None:
    rows(ended()).update(expires_at=DatabaseNow(-1e6))
    assert find_violations(margin=0) == []


@pytest.mark.parametrize("make", [waiting, running, plain])
def test_nothing_may_be_active_once_all_is_settled(make: Callable[[], Process]) -> None:
    ended()
    assert find_violations(settled=True) == []
    process = make()
    [violation] = find_violations(settled=True)
    assert violation == ("I1", str(process.key), f"it has not ended ({process.status})")
    assert str(violation) == f"I1: process {process.key}: it has not ended ({process.status})"


def test_the_first_events_of_what_is_being_pruned_may_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "PURGED", 3)
    process, other = ended(), plain()
    for _ in range(6):
        another_event(other, type="log")
    events(process, seq__lte=3).delete()
    assert find_violations() == []
    # Never those of one that is active, and no fewer than go at once.
    events(other, seq__lte=3).delete()
    assert {violation.process for violation in find_violations()} == {str(other.key)}
    other = ended()
    events(other, seq__lte=2).delete()
    assert str(other.key) in {violation.process for violation in find_violations()}


def test_every_process_is_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "CHUNK", 2)
    processes = [plain() for _ in range(5)]
    for process in processes:
        rows(process).update(revision=0)
    assert [violation.process for violation in find_violations()] == [str(process.key) for process in processes]


def test_many_processes_with_many_events_take_two_statements() -> None:
    for _ in range(3):
        ended()
    with CaptureQueriesContext(connection) as few:
        find_violations(broker=False)
    for _ in range(9):
        another_event(running(), type="log")
    with CaptureQueriesContext(connection) as many:
        find_violations(broker=False)
    # Which processes, they, and that there are no more.
    assert len(few) == len(many) == 3
    assert not any("result" in query["sql"] or "details" in query["sql"] for query in many)


def test_what_a_sweep_has_just_settled_is_no_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    process, other = waiting(), waiting()
    for each in (process, other):
        rows(each).update(expires_at=DatabaseNow(-1e6))
    found = violations()
    first = next(found)
    assert first.process == str(process.key)
    sweep()
    assert fresh(other).status == "expired"
    assert list(found) == []
    assert find_violations() == []


@pytest.mark.django_db(transaction=True)
def test_what_moves_while_it_is_looked_at_is_no_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row, events and attempts are of one moment."""
    monkeypatch.setattr(invariants, "CHUNK", 3)
    done = threading.Event()

    def work(number: int) -> list[Any]:
        if number:
            try:
                for _ in range(12):
                    process = start()
                    settle(claim(process), lambda process: [process.milestone(f"m{n}") for n in range(5)] and None)
            finally:
                done.set()
            return []
        found: list[Any] = []
        while not done.is_set():
            # The first look: the second one would hide what is inconsistent.
            for chunk in invariants._chunks("default"):
                for row in invariants._looked_at(chunk):
                    found += invariants._wrong(row, False, 0.0)
        return found

    assert together(2, work)[0] == []


# Messages


def test_a_message_without_a_row_is_seen(engine: FakeEngine) -> None:
    with transaction.atomic():
        key = str(start().key)
        engine.publish("x", task_id="an-id", key=key, options={})
        transaction.set_rollback(True)
    assert find_violations(broker=False) == []
    [violation] = find_violations()
    assert (violation.invariant, violation.process) == ("I6", key)
    assert "'default'" in violation.text


def test_every_queue_is_asked(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "CHUNK", 2)
    Process.objects.start("x", task=Work(), options={"queue": "one"})
    invariants.Worker.objects.create(name="a@host", queues=["two", "three"], seen_at=read("default"))
    for queue in ("default", "one", "two", "three"):
        for number in range(3):
            engine.publish("x", task_id="an-id", key=f"nobody {queue} {number}", options={"queue": queue})
    assert len(find_violations()) == 12
    monkeypatch.setattr(invariants, "MOST", 1)
    assert len(find_violations()) == 4


def test_a_broker_that_shows_nothing_is_passed_over(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.publish("x", task_id="an-id", key="nobody", options={})
    monkeypatch.setattr(engine, "messages", lambda queue, most: None)
    assert find_violations() == []
