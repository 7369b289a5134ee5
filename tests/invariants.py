"""What must be true of the database whatever happened: the checker for the invariants of docs/architecture.md."""

from __future__ import annotations

from typing import Any

from django_progress.models import Attempt, Event, Process
from django_progress.status import ACTIVE, TERMINAL, Status

TERMINAL_TYPES = {status.value for status in TERMINAL}


def check_invariants() -> None:
    """Look at every process, its events and its attempts; fail with all that is wrong."""
    wrong: list[str] = []
    for process in Process.objects.order_by("pk"):
        events = list(Event.objects.filter(process=process).order_by("seq"))
        attempts = list(Attempt.objects.filter(process=process).order_by("number"))
        for what, holds in (*_log(process, events), *_row(process), *_attempts(process, events, attempts)):
            if not holds:
                wrong.append(f"process {process.pk} ({process.status}): {what}")
    assert not wrong, "\n".join(wrong)


def _log(process: Process, events: list[Event]) -> list[tuple[str, Any]]:
    numbers = [event.seq for event in events]
    ends = [event for event in events if event.type in TERMINAL_TYPES]
    milestones = [event for event in events if event.name]
    return [
        (f"I2: events {numbers} of {process.last_seq}", numbers == list(range(1, process.last_seq + 1))),
        ("I2: each write raises the revision", process.revision >= process.last_seq),
        ("it begins with its start", events[0].name == "started" if events else False),
        ("the row shows the last milestone", milestones and milestones[-1].name == process.milestone_name),
        (f"I3: {len(ends)} terminal events", len(ends) == (process.status in TERMINAL)),
        ("I3: the terminal event is the last", not ends or ends[-1] is events[-1]),
        ("I3: the terminal event equals the row", not ends or ends[-1].type == process.status),
    ]


def _row(process: Process) -> list[tuple[str, Any]]:
    active = process.status in ACTIVE
    pending, running = process.status == Status.PENDING, process.status == Status.RUNNING
    return [
        ("finished_at exactly when terminal", (process.finished_at is None) == active),
        ("I1: what waits has a task, its id and a due time", not pending or (process.task_id and process.due_at)),
        ("only what waits is due", pending or process.due_at is process.next_attempt_at is None),
        ("only what runs is held", running or not process.attempt_token),
        ("I1: what runs a task is held", not (running and process.task_name) or process.attempt_token),
        ("the slot of a retry is free when it has ended", active or process.retry_slot is None),
        ("the peak is a share", 0 <= process.percent_peak <= 1),
        ("counts are not negative", process.current >= 0 and (process.total is None or process.total >= 0)),
    ]


def _attempts(process: Process, events: list[Event], attempts: list[Attempt]) -> list[tuple[str, Any]]:
    numbers = [attempt.number for attempt in attempts]
    executing = [attempt.token for attempt in attempts if not attempt.outcome]
    held = [process.attempt_token] if process.attempt_token else []
    return [
        (f"I4: executing {executing}, held by {held}", executing == held),
        (f"{process.executions} executions, attempts {numbers}", numbers == list(range(1, process.executions + 1))),
        ("one event for each execution", sum(event.type == "attempt" for event in events) == process.executions),
        ("attempts end with a time", all(bool(attempt.outcome) == bool(attempt.finished_at) for attempt in attempts)),
        ("no more than one succeeded", [attempt.outcome for attempt in attempts].count("succeeded") <= 1),
    ]
