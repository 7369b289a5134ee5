"""What the hub reads: for all that is watched at once, in as few queries as there are kinds of things to know."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DatabaseError, router
from django.db.models import Q

from ..clock import DatabaseNow
from ..models import Event, Process
from ..querysets import UNSEEN
from ..status import ACTIVE
from .ring import MOST, Encoded, Ring

__all__ = ["Found", "Plan", "read", "read_rows"]

ROWS, LOGS = 500, 100
"""Processes that one query asks for: for what they are, for what has happened to them."""
AGAIN = 1.0
"""Seconds after which one is looked at again whose expiry could not be stored."""

T = TypeVar("T")


@dataclass
class Plan:
    """What one round of reading is to find out."""

    looks: set[int] = field(default_factory=set)
    """Whether they have changed."""
    rows: set[int] = field(default_factory=set)
    """What they are, because they have."""
    logs: set[int] = field(default_factory=set)
    """What has happened to them, as far as somebody reads that."""
    known: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    wants_row: set[int] = field(default_factory=set)
    rings: dict[int, tuple[int, Any, frozenset[str | None]]] = field(default_factory=dict)
    """Of those whose events are read: up to where, the key and the languages."""

    def follow(self, pk: int, ring: Ring) -> None:
        self.rings[pk] = (ring.newest, ring.key, frozenset(ring.languages))


@dataclass
class Found:
    """What it has found."""

    states: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The number of the last event and the revision; nothing for those that are gone."""
    rows: dict[int, Process] = field(default_factory=dict)
    events: dict[int, list[Encoded]] = field(default_factory=dict)
    due: float | None = None
    """Seconds until the first of them expires."""


def read(plan: Plan) -> Found:
    """Carry out a plan."""
    found = Found()
    if plan.looks:
        _look(plan.looks, found)
    changed = {pk for pk, state in found.states.items() if state != plan.known.get(pk)}
    if rows := plan.rows | changed & plan.wants_row:
        found.rows = read_rows(rows)
        found.states |= {pk: (row.last_seq, row.revision) for pk, row in found.rows.items()}
    behind = {pk for pk, ring in plan.rings.items() if found.states.get(pk, (0, 0))[0] > ring[0]}
    if logs := plan.logs | behind:
        found.events = _read_events({pk: plan.rings[pk] for pk in logs if pk in plan.rings})
    return found


def read_rows(pks: Collection[int]) -> dict[int, Process]:
    """Return the rows as the pages need them, by pk, with the expiry stored of those that are overdue."""
    rows: dict[int, Process] = {}
    # Not from a replica: it may not have heard yet of what it is asked for.
    processes = Process.objects.using(router.db_for_write(Process)).with_now().defer(*UNSEEN)
    for part in _parts(pks, ROWS):
        rows |= {row.pk: row for row in processes.filter(pk__in=part).order_by()}
    overdue = [row for row in rows.values() if row.status != row.shown_status and _expire(row)]
    if overdue:
        rows |= {row.pk: row for row in processes.filter(pk__in=[row.pk for row in overdue]).order_by()}
    return rows


def _look(pks: Collection[int], found: Found) -> None:
    processes = Process.objects.using(router.db_for_write(Process)).order_by()
    columns = ("pk", "last_seq", "revision", "status", "expires_at", "db_now")
    overdue = []
    for part in _parts(pks, ROWS):
        rows = processes.filter(pk__in=part).annotate(db_now=DatabaseNow()).values_list(*columns)
        for pk, last_seq, revision, status, expires_at, now in rows:
            found.states[pk] = (last_seq, revision)
            if status not in ACTIVE or expires_at is None:
                continue
            left = (expires_at - now).total_seconds()
            if left <= 0:
                overdue.append(pk)
                left = AGAIN
            found.due = left if found.due is None else min(left, found.due)
    for row in processes.filter(pk__in=overdue) if overdue else ():
        if _expire(row):
            found.states[row.pk] = (row.last_seq, row.revision)


def _expire(row: Process) -> bool:
    # Somebody may hold it, or SQLite's lock: then it is stored by the next who looks.
    with suppress(DatabaseError):
        return row._expire_if_overdue(wait=False)
    return False


def _read_events(rings: Mapping[int, tuple[int, Any, frozenset[str | None]]]) -> dict[int, list[Encoded]]:
    events: dict[int, list[Encoded]] = {}
    rows = Event.objects.using(router.db_for_write(Process))
    for part in _parts(rings, LOGS):
        # Numbers have no gaps, so that this bounds what comes of each, and the index answers it.
        which = [Q(process_id=pk, seq__gt=rings[pk][0], seq__lte=rings[pk][0] + MOST) for pk in part]
        for event in rows.filter(Q(*which, _connector=Q.OR)).order_by("process_id", "seq"):
            _newest, key, languages = rings[event.process_id]
            events.setdefault(event.process_id, []).append(Encoded(event, key, languages))
    return events


def _parts(things: Collection[T], size: int) -> Iterator[list[T]]:
    ordered = list(things)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
