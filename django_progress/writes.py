"""The one guarded write: a row changed, its revision raised, an event numbered, all or nothing.

The row's ``last_seq`` is raised in the statement that changes it, and the event takes that
number in the same transaction: the row's lock makes the order of commits the order of the
numbers, which neither an autoincrement id nor a timestamp would. The guard (status, token,
deadline) stands in the same WHERE, so whoever has lost the row changes nothing.

The SQL is built once for each shape of write from the models' ``_meta``; it costs a tenth
of what three ORM statements do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import clock, nudges, rows

__all__ = ["NOW", "Add", "AtLeast", "FirstNow", "Guard", "Later", "NewEvent", "Peak", "Written", "write"]


class Add(NamedTuple):
    """Raise a column by an amount."""

    value: float


class AtLeast(NamedTuple):
    """Set a column, unless it is higher already, and raise it by an amount."""

    value: float
    more: float = 0.0


class Later(NamedTuple):
    """Set a column to so many seconds from now, by the database's clock."""

    seconds: float


class _Now(NamedTuple):
    pass


class FirstNow(NamedTuple):
    """Set a column to the database's time, unless it is set already."""


class Peak(NamedTuple):
    """Keep the highest fraction shown so far."""


NOW = _Now()


class NewEvent(NamedTuple):
    """An event that is about to get its number."""

    type: str
    name: str = ""
    message: str = ""
    translatable: bool = False
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold for a write to happen."""

    statuses: tuple[str, ...]
    token: str | None = None
    """The attempt that must hold the process; "" for none; None if it doesn't matter."""
    task_id: str | None = None
    in_time: bool = True
    """The deadline must not have passed."""
    overdue: bool = False
    """The deadline must have passed."""
    due: bool = False
    """The next attempt must not be still to come."""


class Written(NamedTuple):
    """What a write that happened leaves behind."""

    seq: int
    revision: int
    cancel_requested: bool


def write(
    using: str,
    pk: int,
    guard: Guard,
    changes: dict[str, Any],
    event: NewEvent | None = None,
    into: dict[str, Any] | None = None,
) -> Written | None:
    """Change one process and log the event, or do nothing and return None if the guard doesn't hold.

    ``into`` is filled with the whole row, by attribute, as it is now.
    """
    connection = connections[using]
    shape = tuple((name, _kind(value)) for name, value in changes.items())
    statements = _statements(
        connection.alias,
        connection.vendor,
        shape,
        event is not None,
        len(guard.statuses),
        guard.token is not None,
        guard.task_id is not None,
        guard.in_time,
        guard.overdue,
        guard.due,
        into is not None,
    )
    process, event_model, _ = _models()
    update: list[Any] = []
    for name, value in changes.items():
        update += _params(process, connection, name, value)
    update += [pk, *guard.statuses]
    update += [value for value in (guard.token, guard.task_id) if value is not None]
    insert: list[Any] = []
    if event is not None:
        insert = [_adapt(event_model, connection, name, getattr(event, name)) for name in NewEvent._fields]
    token = guard.token or ""

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(statements[0], [*update, *insert, token])
            row = cursor.fetchone()
    else:
        with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
            cursor.execute(statements[0], update)
            if cursor.rowcount == 0:
                return None
            if event is not None:
                cursor.execute(statements[1], [*insert, pk])
            cursor.execute(statements[-1], [token, pk])
            row = cursor.fetchone()
    if row is None:
        return None
    nudges.changed(using, pk)
    if into is not None:
        into.update(rows.converted(connection.alias, process, row[3:]))
    return Written(row[0], row[1], row[2] is not None)


def _models() -> tuple[type[models.Model], type[models.Model], type[models.Model]]:
    return (
        apps.get_model("django_progress", "Process"),
        apps.get_model("django_progress", "Event"),
        apps.get_model("django_progress", "Attempt"),
    )


def _kind(value: Any) -> str:
    return type(value).__name__ if isinstance(value, (Add, AtLeast, _Now, FirstNow, Peak, Later)) else "value"


def _adapt(model: type[models.Model], connection: BaseDatabaseWrapper, name: str, value: Any) -> Any:
    return model._meta.get_field(name).get_db_prep_save(value, connection=connection)  # type: ignore[union-attr]


def _params(model: type[models.Model], connection: BaseDatabaseWrapper, name: str, value: Any) -> Iterable[Any]:
    if isinstance(value, (Add, AtLeast)):
        return value
    if isinstance(value, Later):
        return clock.sql(connection, value.seconds or 0.001)[1]
    if isinstance(value, (_Now, FirstNow, Peak)):
        return []
    return [_adapt(model, connection, name, value)]


@lru_cache(maxsize=256)
def _statements(
    alias: str,
    vendor: str,
    shape: tuple[tuple[str, str], ...],
    with_event: bool,
    statuses: int,
    with_token: bool,
    with_task_id: bool,
    in_time: bool,
    overdue: bool,
    due: bool,
    whole: bool,
) -> tuple[str, ...]:
    connection = connections[alias]
    quote = connection.ops.quote_name
    process, event_model, attempt = _models()
    table, events, attempts = (quote(model._meta.db_table) for model in (process, event_model, attempt))
    now = clock.sql(connection)[0]
    later = clock.sql(connection, 1)[0]
    greatest = "MAX" if vendor == "sqlite" else "GREATEST"

    def column(model: type[models.Model], name: str) -> str:
        return quote(str(model._meta.get_field(name).column))  # type: ignore[union-attr]

    def p(name: str) -> str:
        return column(process, name)

    def assignment(name: str, kind: str) -> str:
        target = p(name)
        total, current = p("total"), p("current")
        return {
            "value": f"{target} = %s",
            "Add": f"{target} = {target} + %s",
            "AtLeast": f"{target} = {greatest}({target}, %s) + %s",
            "_Now": f"{target} = {now}",
            "FirstNow": f"{target} = COALESCE({target}, {now})",
            "Later": f"{target} = {later}",
            "Peak": (
                f"{target} = {greatest}({target}, CASE WHEN {total} > {current} THEN {current} / {total} "
                f"WHEN {total} > 0 THEN 1 ELSE 0 END)"
            ),
        }[kind]

    # The peak reads the old numbers, so it is set before them.
    ordered = sorted(shape, key=lambda pair: pair[1] != "Peak")
    sets = [f"{p('updated_at')} = {now}", *(assignment(*pair) for pair in ordered)]
    sets.append(f"{p('revision')} = {p('revision')} + 1")
    if with_event:
        sets.append(f"{p('last_seq')} = {p('last_seq')} + 1")
    where = [f"{p('id')} = %s", f"{p('status')} IN ({', '.join(['%s'] * statuses)})"]
    if with_token:
        where.append(f"{p('attempt_token')} = %s")
    if with_task_id:
        where.append(f"{p('task_id')} = %s")
    if in_time:
        where.append(f"({p('expires_at')} IS NULL OR {p('expires_at')} > {now})")
    if overdue:
        where.append(f"{p('expires_at')} <= {now}")
    if due:
        where.append(f"({p('next_attempt_at')} IS NULL OR {p('next_attempt_at')} <= {now})")
    update = f"UPDATE {table} SET {', '.join(sets)} WHERE {' AND '.join(where)}"

    names = NewEvent._fields
    columns = ", ".join(
        [column(event_model, "process"), column(event_model, "seq"), column(event_model, "happened_at")]
        + [column(event_model, name) for name in names]
    )
    cancel = f"(SELECT {column(attempt, 'cancel_requested_at')} FROM {attempts} WHERE {column(attempt, 'token')} = %s)"
    more = "".join(f", {quote(name)}" for name in rows.names(process)) if whole else ""
    if vendor == "postgresql":
        returning = f"RETURNING {p('id')} AS pid, {p('last_seq')} AS seq, {p('revision')} AS rev{more}"
        if not with_event:
            return (f"WITH u AS ({update} {returning}) SELECT seq, rev, {cancel}{more} FROM u",)
        casts = ", ".join(f"%s::{event_model._meta.get_field(name).db_type(connection)}" for name in names)
        insert = f"INSERT INTO {events} ({columns}) SELECT pid, seq, {now}, {casts} FROM u RETURNING 1"
        return (f"WITH u AS ({update} {returning}), i AS ({insert}) SELECT seq, rev, {cancel}{more} FROM u",)
    marks = ", ".join(["%s"] * len(names))
    insert = (
        f"INSERT INTO {events} ({columns}) SELECT {p('id')}, {p('last_seq')}, {now}, {marks} "
        f"FROM {table} WHERE {p('id')} = %s"
    )
    read = f"SELECT {p('last_seq')}, {p('revision')}, {cancel}{more} FROM {table} WHERE {p('id')} = %s"
    return (update, insert, read) if with_event else (update, read)
