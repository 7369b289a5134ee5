"""That the judge of the chaos run sees what is wrong, and says nothing when nothing is."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.chaos import judging
from benchmarks.chaos.journal import Note
from benchmarks.chaos.violence import Hit
from django_progress.models import Process
from tests.executing import execute, fresh, start

pytestmark = pytest.mark.django_db


@pytest.fixture
def honest(engine: Any) -> tuple[Process, list[Note]]:
    """A process that succeeded in one execution, and what its body would have noted."""

    def body(process: Process) -> int:
        process.milestone("only.1")
        return process.executions

    process = start("Work", kind="once")
    execute(process, body)
    pk = process.pk
    return fresh(process), [
        Note("begun", pk, 1, 1, 1.0, "started"),
        Note("reached", pk, 1, 1, 2.0, "only.1"),
        Note("ended", pk, 1, 1, 3.0, "started"),
    ]


def judge(process: Process, notes: list[Note], *, started: dict[int, str] | None = None, cancelled: Any = ()) -> str:
    started = {process.pk: "once"} if started is None else started
    return "\n".join([*judging.violations(notes, started, cancelled), *judging.doubles(notes), *judging.stuck()])


def test_judge_is_content_with_what_is_right(honest: tuple[Process, list[Note]]) -> None:
    assert judge(*honest) == ""


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("begun", "execution 1 was begun 2 times"),
        ("another", "execution 2 was never claimed"),
        ("again", "its one attempt after started was begun 2 times"),
        ("lost", "the milestone more.1 was committed, and is lost"),
        ("silent", "its body has not returned"),
        ("gone", "it was started, and is not there"),
        ("stray", "nobody started it"),
        ("kind", "failing has succeeded"),
        ("cancelled", "cancelled at once, and succeeded"),
        ("result", "the result is that of 2"),
        ("early", "it was given up at attempt 1 of 3"),
        ("late", "only.2 was written during execution 1"),
        ("two ends", "it was run to 2 ends"),
        ("active", "work is running"),
    ],
)
def test_judge_sees(honest: tuple[Process, list[Note]], what: str, seen: str) -> None:
    process, notes = honest
    rows, events, asked = Process.objects.filter(pk=process.pk), process.event_set, {}
    match what:
        case "begun":
            notes.append(notes[0])
        case "another" | "again":
            notes.append(notes[0]._replace(execution=2))
        case "lost":
            notes.append(notes[1]._replace(name="more.1"))
        case "silent":
            notes.pop()
        case "gone":
            rows.delete()
        case "stray":
            asked["started"] = {}
        case "kind":
            asked["started"] = {process.pk: "failing"}
        case "cancelled":
            asked["cancelled"] = [str(process.key)]
        case "result":
            rows.update(result=2)
        case "early":
            rows.update(status="failed", max_attempts=3)
        case "late":
            events.filter(name="only.1").update(name="only.2")
        case "two ends":
            events.filter(type="attempt").update(type="succeeded")
        case "active":
            rows.update(status="running", kind="work", finished_at=None)
    assert seen in judge(process, notes, **asked)


def test_recovery_is_the_next_attempt_or_the_end(honest: tuple[Process, list[Note]]) -> None:
    process, notes = honest
    assert process.finished_at is not None
    hit = Hit(process.pk, 1, 10.0, process.finished_at.timestamp() - 4)
    again = notes[0]._replace(execution=2, at=12.5)
    (ended,) = judging.recoveries([hit], notes)
    (begun,) = judging.recoveries([hit], [*notes, again])
    assert [round(seconds, 1) for seconds in (ended.noticed, ended.made_good, begun.made_good)] == [4, 4, 2.5]


def test_rescue_of_the_living_is_seen(honest: tuple[Process, list[Note]]) -> None:
    process, _notes = honest
    process.attempt_set.update(outcome="lost", worker="somewhere")
    assert "its worker somewhere was alive" in "".join(judging.rescued([], set()))
    assert not list(judging.rescued([], {"somewhere"}))
    assert not list(judging.rescued([Hit(process.pk, 1, 10.0, 10.0)], set()))
