"""The checker: what must be true of the database and the broker, whatever happened before.

It asks for the invariants I1 to I4 and I6 of docs/architecture.md, of workflows and their
steps as well; I5 is about the outbox, which isn't there yet. What the database's own
constraints forbid (two events with one number, a count below zero) is not asked again.

It takes no lock and may run beside everything else: all that is known of a process comes
from one statement, so from one moment, and whatever looks wrong is looked at once more.
A few hundred processes are in memory at a time, and never their events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

from django.db import router
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum

from . import engines
from .clock import DatabaseNow
from .conf import settings
from .models import Attempt, Event, Process, Step, Worker
from .status import ACTIVE, STEP_ENDED, STEP_OVER, TERMINAL, Outcome, Status, StepStatus

__all__ = ["MARGIN", "MOST", "Violation", "find_violations", "violations"]

CHUNK = 500
"""Processes that are looked at in one statement."""
MOST = 10_000
"""Messages of one queue that are looked at."""
MARGIN = 60.0
"""Seconds that a sweep may be late before that is a violation."""
PURGED = 5_000
"""How many events the deletion of an old process takes away at once, from the first."""


class Violation(NamedTuple):
    """Something that must not be."""

    invariant: str
    """``I1`` … ``I6``, or ``row`` for a row that contradicts itself."""
    process: str
    """The key of the process."""
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: process {self.process}: {self.text}"


def find_violations(using: str | None = None, **asked: Any) -> list[Violation]:
    """Return all violations (see :func:`violations`, which takes the same arguments)."""
    return list(violations(using, **asked))


def violations(
    using: str | None = None, *, settled: bool = False, broker: bool = True, margin: float | None = MARGIN
) -> Iterator[Violation]:
    """Yield what is wrong with the processes of a database and with the messages that name them.

    ``settled`` is for when all the work should be over: then nothing may be active.
    ``margin`` is how many seconds a sweep may be late, beside its interval and two beats;
    None leaves out whatever depends on the time. Raises what the transport raises when
    the broker is asked and can't be reached.
    """
    using = using or router.db_for_write(Process)
    late = None if margin is None else settings.SWEEP_INTERVAL + 2 * settings.HEARTBEAT + margin
    if broker:
        # Before the rows: a message is sent after its row was committed.
        yield from _messages(using)
    for rows in _chunks(using):
        for row in _looked_at(rows):
            if any(_wrong(row, settled, late)):
                # Once more: by now a sweep may have come by.
                for again in _looked_at(Process.objects.using(using).filter(pk=row["pk"])):
                    yield from _wrong(again, settled, late)


def _chunks(using: str) -> Iterator[QuerySet[Process]]:
    rows = Process.objects.using(using).order_by("pk")
    last = 0
    while pks := list(rows.filter(pk__gt=last).values_list("pk", flat=True)[:CHUNK]):
        yield rows.filter(pk__gt=last, pk__lte=pks[-1])
        last = pks[-1]


def _looked_at(rows: QuerySet[Process]) -> list[Any]:
    """Read processes with what their events and attempts add up to, in one statement."""
    events = Event.objects.filter(process=OuterRef("pk")).order_by()
    attempts = Attempt.objects.filter(process=OuterRef("pk")).order_by()
    executing = attempts.filter(outcome=Outcome.RUNNING)
    following = Attempt.objects.filter(process=OuterRef("process"), number=OuterRef("number") + 1)
    overtaken = Q(Exists(following), finished_at=None) | Exists(
        following.filter(started_at__lt=OuterRef("finished_at"))
    )
    steps = Step.objects.filter(process=OuterRef("pk")).order_by()
    over = Q(execution__status__in=TERMINAL, parts_left=0)
    return list(
        rows.order_by("pk").values(
            "pk", "key", "status", "last_seq", "revision", "milestone_name", "task_name", "task_id", "attempt_token",
            "executions", "percent_peak", "retry_slot", "due_at", "next_attempt_at", "expires_at", "parent", "workflow",
            "steps_left",
            now=DatabaseNow(),
            events=_sum(events, Count("pk")),
            first_seq=_sum(events, Min("seq")),
            ends=_sum(events.filter(type__in=TERMINAL), Count("pk")),
            claims=_sum(events.filter(type="attempt", name=""), Count("pk")),
            first_name=Subquery(events.filter(seq=1).values("name")),
            last_type=Subquery(events.filter(seq=OuterRef("last_seq")).values("type")),
            last_milestone=Subquery(events.milestones().reverse().values("name")[:1]),
            attempts=_sum(attempts, Count("pk")),
            first_attempt=_sum(attempts, Min("number")),
            last_attempt=_sum(attempts, Max("number")),
            successes=_sum(attempts.filter(outcome=Outcome.SUCCEEDED), Count("pk")),
            executing=_sum(executing, Count("pk")),
            holds=Exists(executing.filter(token=OuterRef("attempt_token"))),
            overlap=Exists(attempts.filter(overtaken)),
            lease_until=_sum(executing, Min("lease_until")),
            timeout_at=_sum(executing, Min("timeout_at")),
            has_step=Exists(Step.objects.filter(execution=OuterRef("pk"))),
            active_steps=_sum(steps.active(), Count("pk")),
            first_left=_sum(steps.filter(parent_path="#").exclude(status__in=STEP_OVER, children_left=0), Count("pk")),
            parts=_sum(steps.planned(), Sum("parts")),
            part_rows=_sum(steps.exclude(index=None), Count("pk")),
            idle_step=_path(steps.active().filter(over)),
            early_step=_path(steps.filter(status__in=STEP_ENDED, execution__status__in=ACTIVE)),
            ready_step=_path(steps.planned().filter(status=StepStatus.INACTIVE, blockers=0)),
            unproven_step=_path(
                steps.filter(status=StepStatus.SUCCEEDED, is_reused=False)
                .exclude(execution__status=Status.SUCCEEDED)
                .exclude(execution=None, parts__gt=0)  # Only parts of it ran, of items that another run had listed.
            ),
        )
    )  # fmt: skip


def _sum(rows: QuerySet[Any], aggregate: Count | Max | Min | Sum) -> Subquery:
    return Subquery(rows.values("process").annotate(sum=aggregate).values("sum"))


def _path(steps: QuerySet[Step]) -> Subquery:
    return Subquery(steps.values("path")[:1])


Check = tuple[str, str, Any]
"""An invariant, what is to be told if it doesn't hold, and whether it does."""


def _wrong(row: dict[str, Any], settled: bool, late: float | None) -> Iterator[Violation]:
    checks = [*_log(row), *_row(row), *_attempts(row), *_steps(row)]
    if late is not None:
        checks += _punctuality(row, late)
    if settled:
        checks.append(("I1", "it has not ended", row["status"] in TERMINAL))
    for invariant, text, holds in checks:
        if not holds:
            yield Violation(invariant, str(row["key"]), f"{text} ({row['status']})")


def _log(row: dict[str, Any]) -> Iterator[Check]:
    over = row["status"] in TERMINAL
    count, last = row["events"] or 0, row["last_seq"]
    first = row["first_seq"] if count else 1
    # Of an old process that is just being deleted the first events may be gone already.
    purged = over and first > PURGED
    yield "I2", f"{count} events from {first} for the numbers up to {last}", count == last - first + 1
    yield "I2", f"its log begins with event {first}", first == 1 or purged
    yield "I2", f"revision {row['revision']} is behind event {last}", row["revision"] >= last
    yield "I3", f"{row['ends'] or 0} terminal events", (row["ends"] or 0) == over
    yield "I3", f"its last event is {row['last_type']!r}", not over or row["last_type"] == row["status"]
    if not purged:
        yield "I2", "its log does not begin with its start", row["first_name"] == "started"
        shown, reached = row["milestone_name"], row["last_milestone"]
        yield "I2", f"it shows the milestone {shown!r}, and has reached {reached!r}", shown == reached
        claims, executions = row["claims"] or 0, row["executions"]
        yield "I4", f"{claims} claims in its log, {executions} executions", claims == executions


def _row(row: dict[str, Any]) -> Iterator[Check]:
    pending, running = row["status"] == Status.PENDING, row["status"] == Status.RUNNING
    waits = bool(row["task_name"] and row["task_id"] and row["due_at"])
    yield "I1", "it waits without a task, a task's id or a due time", not pending or waits
    yield "I1", "its task runs, and no attempt holds it", not (running and row["task_name"]) or row["attempt_token"]
    yield "row", "it is due, and waits for nothing", pending or row["due_at"] is row["next_attempt_at"] is None
    yield "row", "it has ended, and keeps the slot of a retry", row["status"] in ACTIVE or row["retry_slot"] is None
    yield "row", f"the share {row['percent_peak']} was shown", 0 <= row["percent_peak"] <= 1


def _attempts(row: dict[str, Any]) -> Iterator[Check]:
    count, executing, held = row["attempts"] or 0, row["executing"] or 0, bool(row["attempt_token"])
    numbers = (count, row["first_attempt"], row["last_attempt"]) if count else (0, 1, 0)
    text = "{} attempts, numbered {} to {}, for {} executions".format(*numbers, row["executions"])
    yield "I4", text, numbers == (row["executions"], 1, row["executions"])
    yield "I4", f"{executing} attempts execute", executing == held
    yield "I4", "another attempt executes than the one that holds it", row["holds"] or not held
    yield "I4", f"{row['successes']} attempts succeeded", (row["successes"] or 0) <= 1
    yield "I4", "an attempt began before the one before it had ended", not row["overlap"]


def _steps(row: dict[str, Any]) -> Iterator[Check]:
    if row["parent"] is not None:
        yield "row", "it is a step of a workflow, and has no row as such", row["has_step"]
    if not row["workflow"]:
        return
    count, goes_on = row["active_steps"] or 0, row["status"] in ACTIVE
    yield "I1", f"{count} of its steps are active", (count > 0) == goes_on
    parts, rows, left = row["parts"] or 0, row["part_rows"] or 0, row["first_left"] or 0
    yield "I4", f"{rows} sub-steps for {parts} items", rows == parts
    if goes_on or row["status"] == Status.SUCCEEDED:
        yield "row", f"{row['steps_left']} steps left, and {left} not complete", row["steps_left"] == left
    yield "I4", f"{row['unproven_step']} succeeded, and what executed it has not", row["unproven_step"] is None
    if goes_on:
        yield "I1", f"{row['idle_step']} is active, and what executed it has ended", row["idle_step"] is None
        yield "I1", f"{row['ready_step']} waits for nothing, and was not queued", row["ready_step"] is None
        yield "I4", f"{row['early_step']} has ended, and is still executed", row["early_step"] is None


def _punctuality(row: dict[str, Any], late: float) -> Iterator[Check]:
    def since(moment: datetime | None) -> float:
        return (row["now"] - moment).total_seconds() if moment is not None else -1.0

    active = row["status"] in ACTIVE
    for what, moment, holds in (
        ("its deadline has been passed", row["expires_at"], active),
        ("its attempt has been silent past its lease", row["lease_until"], True),
        ("its attempt has been taking too long", row["timeout_at"], True),
        ("it has been due", row["due_at"], row["status"] == Status.PENDING),
    ):
        gone = since(moment)
        yield "I1", f"{what} for {gone:.0f} s, and nothing was done", not holds or gone <= late


def _messages(using: str) -> Iterator[Violation]:
    """Look for messages that nothing was committed for."""
    engine = engines.get_engine()
    queues = set(Process.objects.using(using).active().order_by().values_list("queue", flat=True).distinct())
    queues.update(chain.from_iterable(Worker.objects.using(using).values_list("queues", flat=True)))
    queues.add(engine.queue_for("", {}))
    for queue in sorted(queues - {""}):
        waiting = iter(engine.messages(queue, MOST) or ())
        while keys := [key for _task_id, key in islice(waiting, CHUNK)]:
            named = {key: _as_uuid(key) for key in keys}
            wanted = [key for key in named.values() if key is not None]
            known = set(Process.objects.using(using).filter(key__in=wanted).values_list("key", flat=True))
            for key in keys:
                if named[key] not in known:
                    text = f"a message on {queue!r} names it, and it was rolled back (unless it was removed since)"
                    yield Violation("I6", key, text)


def _as_uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None
