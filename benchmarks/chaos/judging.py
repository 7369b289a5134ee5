"""What is found afterwards: whether anything was lost, done twice or left undone."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from benchmarks.chaos.journal import Note
from benchmarks.chaos.plan import ENDS
from benchmarks.chaos.violence import Hit
from django_progress.invariants import find_violations
from django_progress.models import Attempt, Event, Process
from django_progress.status import ACTIVE, TERMINAL

__all__ = ["Recovery", "describe", "doubles", "recoveries", "rescued", "statuses", "stuck", "violations"]


class Recovery(NamedTuple):
    """What became of an execution that was killed."""

    hit: Hit
    noticed: float
    """Seconds until it was given up: by its lease, its deadline or its attempt's time."""
    made_good: float
    """Seconds until the next execution's body began (whose message may be lost too), or the process had ended."""


def violations(notes: list[Note], started: Mapping[int, str], cancelled: Iterable[str]) -> Iterator[str]:
    """Yield what must not be: by the app's own checker, and by what the bodies noted."""
    yield from map(str, find_violations(settled=True))
    rows = {process.pk: process for process in Process.objects.all()}
    keys = {str(process.key): process for process in rows.values()}
    for pk in started.keys() - rows.keys():
        yield f"process {pk}: it was started, and is not there"
    yield from (f"process {pk}: nobody started it" for pk in rows.keys() - started.keys())
    for pk, kind in started.items():
        process = rows.get(pk)
        if process is None or process.status not in TERMINAL:
            continue
        if process.status not in ENDS[kind] | {"cancelled"}:
            yield f"process {pk}: {kind} has {process.status}"
        if process.status == "failed" and process.attempt_number < process.max_attempts:
            yield f"process {pk}: it was given up at attempt {process.attempt_number} of {process.max_attempts}"
    yield from (
        f"process {key}: cancelled at once, and {keys[key].status}"
        for key in cancelled
        if keys[key].status != "cancelled"
    )
    yield from _lost_milestones(notes)
    yield from _reports_of_the_superseded()
    yield from _results(notes, rows)


def _lost_milestones(notes: list[Note]) -> Iterator[str]:
    known = set(Event.objects.milestones().values_list("process_id", "name"))
    for note in notes:
        if note.what == "reached" and (note.process, note.name) not in known:
            yield f"process {note.process}: the milestone {note.name} was committed, and is lost"


def _reports_of_the_superseded() -> Iterator[str]:
    """An execution's milestones carry its number, and stand between its claim and the next one's."""
    execution: Counter[int] = Counter()
    for pk, kind, name in Event.objects.order_by("process_id", "seq").values_list("process_id", "type", "name"):
        if kind == "attempt" and not name:
            execution[pk] += 1
        number = name.rpartition(".")[2]
        if number.isdigit() and int(number) != execution[pk]:
            yield f"process {pk}: {name} was written during execution {execution[pk]}"


def _results(notes: list[Note], rows: Mapping[int, Process]) -> Iterator[str]:
    ended = {(note.process, note.execution) for note in notes if note.what == "ended"}
    for pk, number in Attempt.objects.filter(outcome="succeeded").values_list("process_id", "number"):
        if rows[pk].result != number:
            yield f"process {pk}: execution {number} succeeded, and the result is that of {rows[pk].result}"
        if (pk, number) not in ended:
            yield f"process {pk}: execution {number} succeeded, and its body has not returned"


def rescued(hits: list[Hit], harmed: set[str]) -> Iterator[str]:
    """Yield the attempts that were taken for dead although nothing had been done to their workers."""
    struck = {(hit.process, hit.execution) for hit in hits}
    for pk, number, worker in Attempt.objects.filter(outcome="lost").values_list("process_id", "number", "worker"):
        if worker not in harmed and (pk, number) not in struck:
            yield f"process {pk}: execution {number} was given up, and its worker {worker} was alive"


def doubles(notes: list[Note]) -> Iterator[str]:
    """Yield what was done twice that may be done once."""
    begun = Counter((note.process, note.execution) for note in notes if note.what == "begun")
    for (pk, execution), count in begun.items():
        if count > 1:
            yield f"process {pk}: execution {execution} was begun {count} times"
    claimed = set(Attempt.objects.values_list("process_id", "number"))
    yield from (f"process {pk}: execution {number} was never claimed" for pk, number in begun.keys() - claimed)
    legs = Counter((note.process, note.name) for note in notes if note.what == "begun")
    at_most_once = set(Process.objects.filter(max_attempts=1).values_list("pk", flat=True))
    for (pk, leg), count in legs.items():
        if count > 1 and pk in at_most_once:
            yield f"process {pk}: its one attempt after {leg} was begun {count} times"
    ends = Counter(Event.objects.filter(type__in=TERMINAL).values_list("process_id", flat=True))
    yield from (f"process {pk}: it was run to {count} ends" for pk, count in ends.items() if count > 1)


def stuck() -> Iterator[str]:
    """Yield what has not ended, with what one wants to know of it."""
    for process in Process.objects.filter(status__in=ACTIVE).order_by("pk"):
        yield (
            f"process {process.pk}: {process.kind} is {process.status}, execution {process.executions}, "
            f"due {process.due_at}, published {process.publish_count} times, changed {process.updated_at}"
        )


def statuses() -> dict[str, Counter[str]]:
    """Return how the processes of each kind have ended."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, status in Process.objects.order_by("kind", "status").values_list("kind", "status"):
        found[kind][status] += 1
    return found


def recoveries(hits: list[Hit], notes: list[Note]) -> list[Recovery]:
    """Return how long it took from each kill until it was noticed, and until it was made good."""
    begun: dict[int, list[Note]] = defaultdict(list)
    for note in notes:
        if note.what == "begun":
            begun[note.process].append(note)
    given_up = {
        (pk, number): at for pk, number, at in Attempt.objects.values_list("process_id", "number", "finished_at")
    }
    finished = dict(Process.objects.values_list("pk", "finished_at"))
    found = []
    for hit in hits:
        noticed = given_up.get((hit.process, hit.execution))
        again = [note.at - hit.at for note in begun[hit.process] if note.execution > hit.execution]
        if end := finished.get(hit.process):
            again.append(end.timestamp() - hit.happened_at)
        if again and noticed:
            found.append(Recovery(hit, max(0.0, noticed.timestamp() - hit.happened_at), max(0.0, min(again))))
    return sorted(found, key=lambda recovery: recovery.made_good)


def describe(recovered: list[Recovery], lease: float) -> str:
    """Say how long it took."""
    if not recovered:
        return "nothing was killed that had to recover"
    lines = [f"{len(recovered)} executions killed; the lease is {lease:g} s"]
    for what, seconds in (
        ("given up", [recovery.noticed for recovery in recovered]),
        ("at work again, or ended", [recovery.made_good for recovery in recovered]),
    ):
        lines.append(f"  {what} after {statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (worst)")
    slowest = ", ".join(
        f"{each.made_good:.1f} s ({each.hit.process}/{each.hit.execution})" for each in recovered[:-5:-1]
    )
    lines.append(f"  the slowest (process/execution): {slowest}")
    return "\n  ".join(lines)
