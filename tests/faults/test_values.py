"""Values that no database, page or program should have to see: faults 43 to 47, and 53.

Each goes in where a project's code would hand it over, in a body that is executed, and is
looked at where it would show: in the row, read again, and in the JSON of its status.
"""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django_celery_results.models import TaskResult

from django_progress import engines, errors
from django_progress.models import Process
from django_progress.publishing import CeleryEngine
from django_progress.status import Status
from django_progress.tasks import progress_task
from tests.celery import app
from tests.executing import claim, execute, fresh, inside, last_attempt, settle, start, types
from tests.unit.conftest import FakeEngine

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


def shown(process: Process) -> dict[str, Any]:
    """Return what its status says to a program, through real JSON."""
    status: dict[str, Any] = json.loads(json.dumps(fresh(process).snapshot().as_json(), allow_nan=False))
    return status


def progress(process: Process) -> tuple[Any, Any, Any]:
    found = shown(process)["progress"]
    return found["current"], found["total"], found["percent"]


# 43: numbers


HUGE = 10**400
NUMBERS: list[tuple[Any, Any]] = [
    (-1, ValueError),
    (-0.001, ValueError),
    (math.nan, ValueError),
    (math.inf, ValueError),
    (-math.inf, ValueError),
    (HUGE, ValueError),
    (-HUGE, ValueError),
    (2**53 + 2, ValueError),
    (Decimal("NaN"), ValueError),
    (Decimal("sNaN"), ValueError),
    (Decimal("Infinity"), ValueError),
    (Decimal("1e400"), ValueError),
    (True, TypeError),
    (False, TypeError),
    ("5", TypeError),
    (b"5", TypeError),
    (5j, TypeError),
    ([5], TypeError),
    (None, TypeError),
    (-0.0, 0),
    (0, 0),
    (2.5, 2.5),
    (Decimal("2.5"), 2.5),
    (2**53, 2**53),
]


@pytest.mark.parametrize(("number", "expected"), NUMBERS, ids=lambda value: f"{value!r:.20}")
@pytest.mark.parametrize("verb", ["advance", "set_progress", "total"])
def test_fault_43_numbers(verb: str, number: Any, expected: Any) -> None:
    """It is refused where it is handed over, and leaves nothing behind, or it is stored as it is."""

    def report(process: Process) -> None:
        match verb:
            case "advance":
                process.advance(number)
            case "set_progress":
                process.set_progress(number)
            case "total":
                process.set_progress(0, number)

    process = start(total=10)
    executing = claim(process)
    with inside(executing) as body:
        if isinstance(expected, type) and not (verb == "total" and number is None):
            with pytest.raises(expected):
                report(body)
            wanted: tuple[Any, Any] = (0, 10)
        else:
            report(body)
            wanted = (0, 10 if number is None else expected) if verb == "total" else (expected, 10)
        body.checkpoint()
    assert progress(process)[:2] == wanted
    settle(executing, lambda process: None)
    assert fresh(process).status == Status.SUCCEEDED
    assert progress(process)[:2] == wanted


@pytest.mark.parametrize("total", [-1, math.nan, math.inf, True, "5", HUGE, Decimal("sNaN")])
def test_fault_43_a_start_with_an_impossible_total_leaves_nothing(total: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        start(total=total)
    assert not Process.objects.exists()


@pytest.mark.parametrize(
    ("current", "total", "running", "succeeded"),
    [
        (0, 0, (0, 0, None), (0, 0, 100)),  # Nothing to do.
        (5, 0, (5, 0, None), (5, 0, 100)),
        (5, None, (5, None, None), (5, None, None)),
        (0, 10, (0, 10, 0), (0, 10, 0)),
        (10, 10, (10, 10, 100), (10, 10, 100)),
        (15, 10, (15, 10, None), (15, 10, 100)),  # More than there was said to be.
    ],
)
def test_fault_43_shares(current: float, total: float | None, running: Any, succeeded: Any) -> None:
    process = start()

    def body(process: Process) -> None:
        process.set_progress(current, total)
        process.checkpoint()
        assert progress(process) == running

    assert execute(process, body) is None
    assert progress(process) == succeeded


# 44: a full bar is no end, an end needs no full bar


def test_fault_44_full_without_an_end() -> None:
    process = start(total=10)
    executing = claim(process)
    with inside(executing) as body:
        body.set_progress(10)
        body.checkpoint()
        assert progress(process) == (10, 10, 100)
        status = shown(process)
        assert (status["status"], status["done"], status["finished_at"]) == ("running", False, None)
        # And more work turns up: neither 100 nor a lower number would be true.
        body.set_progress(10, 20)
        body.checkpoint()
        assert progress(process) == (10, 20, None)
    settle(executing, lambda process: (_ for _ in ()).throw(LookupError()))
    assert (shown(process)["status"], progress(process)) == ("failed", (10, 20, None))


def test_fault_44_success_at_forty_percent() -> None:
    process = start(total=10)
    assert execute(process, lambda process: process.set_progress(4)) is None
    assert (shown(process)["status"], shown(process)["done"], progress(process)) == ("succeeded", True, (4, 10, 40))


def test_fault_44_failure_at_one_hundred_percent() -> None:
    process = start(total=10)

    def body(process: Process) -> None:
        process.set_progress(10)
        raise LookupError

    execute(process, body)
    assert (shown(process)["status"], progress(process)) == ("failed", (10, 10, 100))


# 45: text


FAMILY = "👩\u200d👩\u200d👧"
TEXTS: list[tuple[str, str, str]] = [
    # What is handed over, as it is stored in text, as it is stored in JSON.
    ("✈️ 🇵🇹", "✈️ 🇵🇹", "✈️ 🇵🇹"),
    (FAMILY, FAMILY, FAMILY),
    ("\u202egnp.exe", "\u202egnp.exe", "\u202egnp.exe"),
    ("a\x00b", "a\ufffdb", "a\ufffdb"),
    ("a\ud800b\udfff", "a\ufffdb\ufffd", "a\ufffdb\ufffd"),
    ("\x1b[31mred\x7f", "\ufffd[31mred\ufffd", "\x1b[31mred\x7f"),
    ("a\r\nb\rc\u2028d", "a\nb\nc\nd", "a\r\nb\rc\u2028d"),
    ("e\u0301 İ ß", "e\u0301 İ ß", "e\u0301 İ ß"),
    ("100 % %s %(a)s {key}", "100 % %s %(a)s {key}", "100 % %s %(a)s {key}"),
    ("\\'\"; DROP TABLE x; --", "\\'\"; DROP TABLE x; --", "\\'\"; DROP TABLE x; --"),
    (" trailing ", " trailing ", " trailing "),
    ("x" * 1_000_000, "x" * 1_999 + "…", ""),
    ("👩" * 1_000_000, "👩" * 1_999 + "…", ""),
]


@pytest.mark.parametrize(("given", "stored", "stored_json"), TEXTS, ids=lambda value: f"{value!a:.16}")
def test_fault_45_text(given: str, stored: str, stored_json: str) -> None:
    """The same stored value on every database: each run must equal these constants."""
    in_json = given if stored_json else given[:10]
    wanted_json = stored_json or given[:10]

    def body(process: Process) -> Any:
        process.milestone("here", given, details={in_json: [in_json]})
        process.set_message(f"key {given}", given)
        process.log(given)
        return {in_json: in_json}

    process = start(given, context={in_json: in_json})
    assert execute(process, body) is None
    row = fresh(process)
    assert row.description == stored
    assert row.context == row.result == {wanted_json: wanted_json}
    key = f"key {stored}"
    assert row.messages == [(key if len(key) <= 100 else key[:99] + "…", stored)]
    event = row.event_set.get(name="here")
    assert (event.message, event.details) == (stored, {wanted_json: [wanted_json]})
    assert row.milestone_message == stored
    assert row.event_set.get(type="log").message == stored
    failing = start(given)
    settle(claim(failing), lambda process: process.fail(given))
    assert fresh(failing).error == stored
    assert last_attempt(failing).error == stored
    assert shown(process)["description"] == stored


def test_fault_45_nothing() -> None:
    process = start("")

    def body(process: Process) -> str:
        process.milestone("here", "")
        process.log("")
        process.set_message("key", "")
        with pytest.raises(ValueError, match="empty"):
            process.set_message("", "x")
        with pytest.raises(ValueError, match="64"):
            process.milestone("")
        return ""

    assert execute(process, body) is None
    row = fresh(process)
    assert (row.description, row.milestone_message, row.messages, row.result) == ("", "", [("key", "")], "")


@pytest.mark.parametrize("name", ["a\x00b", "a\ud800", "a b", "\u202eabc", "x" * 65, "a\n", "\u200b"])
def test_fault_45_names_are_refused(name: str) -> None:
    """What programs compare must not look like something else."""
    process = start()

    def body(process: Process) -> None:
        with pytest.raises(ValueError, match="visible"):
            process.milestone(name)
        with pytest.raises(ValueError, match="visible"):
            process.milestone("fine", type=name)

    assert execute(process, body) is None
    assert types(process) == ["milestone", "attempt", "succeeded"]


JSON: list[tuple[Any, Any]] = [
    (1.0, 1.0),
    (0.1 + 0.2, 0.30000000000000004),
    (-0.0, 0.0),
    (5e-324, 5e-324),
    (9999999999999998.0, 9999999999999998.0),
    (1e16, 10**16),
    (-1e18, -(10**18)),
    (1e300, "1e+300"),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (2**63, "9223372036854775808"),
    (10**400, "1" + "0" * 400),
    (None, None),
    (True, True),
    ([], []),
    ({}, {}),
    ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
    ({2: "two", None: "none", True: "yes"}, {"2": "two", "true": "yes", "null": "none"}),
    ((1, (2, 3)), [1, [2, 3]]),
    (Decimal("1.10"), "1.10"),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    (date(2026, 1, 2), "2026-01-02"),
]


@pytest.mark.parametrize(("given", "stored"), JSON, ids=lambda value: f"{value!r:.20}")
def test_fault_45_json(given: Any, stored: Any) -> None:
    process = start(context={"value": given})
    assert execute(process, lambda process: {"value": given}) is None
    row = fresh(process)
    assert row.context == row.result == {"value": stored}
    # Of -0.0 and 0.0, 1e16 and 10**16 Python says that they are equal; a program in another language may not.
    assert repr(row.result["value"]) == repr(stored) or isinstance(stored, dict)
    assert shown(process)["result"] == {"value": stored}


# 46: results that can't be stored


class Unwilling:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def circular() -> list[Any]:
    circle: list[Any] = [1]
    circle.append(circle)
    return circle


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("make", "type_name", "summary"),
    [
        (object, "builtins.object", "<object object"),
        (circular, "builtins.list", "[1, [...]]"),
        (lambda: math.nan, "builtins.float", "nan"),
        (lambda: {"deep": math.inf}, "builtins.dict", "inf"),
        (lambda: {1, 2}, "builtins.set", "{1, 2}"),
        (lambda: b"bytes", "builtins.bytes", "b'bytes'"),
        (lambda: nested(31), "builtins.list", "[[["),
        (lambda: nested(100_000), "builtins.list", "[[["),
        (Unwilling, "tests.faults.test_values.Unwilling", "Unwilling"),
        (lambda: {(1, 2): 3}, "builtins.dict", "(1, 2)"),
    ],
)
def test_fault_46_a_result_that_is_no_json(make: Callable[[], Any], type_name: str, summary: str) -> None:
    process = start()
    assert execute(process, lambda process: make()) is None
    status = shown(process)
    assert (status["status"], status["done"]) == ("succeeded", True)
    assert set(status["result"]) == {"not_stored", "type", "summary"}
    assert status["result"]["type"] == type_name
    assert summary in status["result"]["summary"]
    assert status["result"]["not_stored"]
    # Where the code asks for it to be stored it is told, and nothing is.
    other = start()

    def body(process: Process) -> None:
        with pytest.raises((TypeError, ValueError)):
            process.set_result(make())

    assert execute(other, body) is None
    assert fresh(other).result is None


def test_fault_46_fifty_megabytes() -> None:
    size = 50_000_000
    value = "x" * size
    process = start()
    executing = claim(process)
    tracemalloc.start()
    began = time.monotonic()
    try:
        assert settle(executing, lambda process: value) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 20
    # It is written as JSON once and read once, and what stands for it is short.
    assert peak < 4 * size
    row = fresh(process)
    assert row.status == Status.SUCCEEDED
    assert "larger than 1000000 bytes" in row.result["not_stored"]
    assert len(json.dumps(row.result)) < 2_000


# 47: exceptions


class Silent(Exception):
    """One that has no words for itself."""

    def __str__(self) -> str:
        raise RuntimeError("It can't be said.")

    __repr__ = __str__


def chained(length: int) -> Exception:
    error: Exception | None = None
    for _ in range(length):
        newer = Silent()
        newer.__cause__ = error
        error = newer
    assert error is not None
    return error


@progress_task(name="tests.faults.speechless")
def speechless(process: Process) -> None:
    raise chained(1_000)


@pytest.fixture
def inline(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have Celery execute in this thread, and store what it makes of the exception."""
    engines.register(CeleryEngine())
    before = {name: getattr(app.conf, name) for name in ("task_always_eager", "task_store_eager_result")}
    app.conf.update(task_always_eager=True, task_store_eager_result=True)
    # Where a task has been used already, it doesn't look at the settings again.
    monkeypatch.setattr(app.tasks[speechless.name], "store_eager_result", True)
    yield
    app.conf.update(before)
    engines.register(engine)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_fault_47_a_thousand_exceptions_without_words() -> None:
    began = time.monotonic()
    process = speechless.start()
    assert time.monotonic() - began < 20
    row = fresh(process)
    attempt = last_attempt(process)
    assert (row.status, row.error, attempt.outcome) == (Status.FAILED, errors.GENERIC, "failed")
    assert row.error_reference == attempt.error_reference != ""
    assert "Silent" in row.error_detail
    assert row.error_detail.count("Silent: ") == 50
    assert len(row.error_detail) <= errors.MAX_DETAIL + 10
    assert types(process) == ["milestone", "attempt", "failed"]
    assert TaskResult.objects.get(task_id=attempt.task_id).status == "FAILURE"
    assert shown(process)["error"]["message"] == errors.GENERIC


def test_fault_47_is_tried_again_all_the_same() -> None:
    process = start(max_attempts=2)

    def fails(process: Process) -> None:
        raise chained(1_000)

    execute(process, fails)
    assert fresh(process).status == Status.PENDING
    assert execute(process, lambda process: "in the end") is None
    assert fresh(process).status == Status.SUCCEEDED


# 53: a flood of events


def test_fault_53_a_flood_is_capped_and_milestones_are_kept(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"MAX_EVENTS": 50}

    def body(process: Process) -> str:
        for number in range(1, 301):
            process.log(f"line {number}")
            process.set_message("Line", number)
            process.set_result(number)
            process.advance()
            if number % 50 == 0:
                process.milestone(f"after-{number}")
        return "done"

    process = start(total=300)
    assert execute(process, body) is None
    row = fresh(process)
    assert [event.name for event in row.milestones] == ["started", *(f"after-{n}" for n in range(50, 301, 50))]
    # Capped, and past the cap only milestones and the end.
    assert row.last_seq == 50 + 6 + 1
    assert types(process)[50:] == ["milestone"] * 6 + ["succeeded"]
    assert (row.messages, row.result, row.current) == ([("Line", "300")], "done", 300)
    assert row.snapshot().truncated


def test_fault_53_one_hundred_thousand_in_a_tight_loop(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"MAX_EVENTS": 100}
    peaks: list[int] = []
    statements = count()

    def counted(execute: Callable[..., Any], *args: Any) -> Any:
        next(statements)
        return execute(*args)

    def body(process: Process) -> str:
        process.milestone("begun")
        for number in process.track(range(100_000)):
            process.log("again")
            if number == 50_000:
                process.milestone("halfway")
            if number == 1_000:
                tracemalloc.start()
        peaks.append(tracemalloc.get_traced_memory()[1])
        return "done"

    process = start()
    began = time.monotonic()
    try:
        with connection.execute_wrapper(counted):
            assert execute(process, body) is None
    finally:
        tracemalloc.stop()
    # Numbers are written twice a second, and a line past the cap asks no more often whether it should stop.
    assert next(statements) < 1_000 + 40 * (time.monotonic() - began)
    assert peaks[0] < 5_000_000
    row = fresh(process)
    assert row.last_seq == 100 + 1 + 1
    assert [event.name for event in row.milestones] == ["started", "begun", "halfway"]
    assert (row.current, row.total, row.percent) == (100_000, 100_000, 100)
