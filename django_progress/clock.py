"""The database's clock, in UTC: the only one that leases, deadlines and due times are compared with.

Web servers, workers and the database may disagree about the time; as long as every
comparison is made by one of them, that doesn't matter. Times are the moment of the
statement, not of the transaction's beginning. MariaDB's ``NOW()`` is local, and SQLite's
``Now()`` writes three decimals where Python writes six, hence one spelling for each.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Expression
from django.db.models.sql.compiler import SQLCompiler

__all__ = ["DatabaseNow", "read", "sql"]

_SPELLED: dict[str, tuple[str, str, Callable[[float], object]]] = {
    "postgresql": ("clock_timestamp()", "(clock_timestamp() + %s * interval '1 second')", float),
    "mysql": ("UTC_TIMESTAMP(6)", "(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)", lambda s: round(s * 1_000_000)),
    "sqlite": (
        "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')",
        "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s)",
        lambda s: f"{s:+.3f} seconds",
    ),
}


def sql(connection: BaseDatabaseWrapper, seconds: float = 0.0) -> tuple[str, list[Any]]:
    """Return the SQL for "now", or for ``seconds`` from now, and its parameters."""
    now, later, adapt = _SPELLED[connection.vendor]
    return (later, [adapt(seconds)]) if seconds else (now, [])


class DatabaseNow(Expression):
    """The database's time, or one that is ``seconds`` away from it, in a query."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(output_field=DateTimeField())
        self.seconds = seconds

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        """Spell it for the vendor."""
        statement, params = sql(connection, self.seconds)
        # The moment the statement began: PostgreSQL looks no volatile function up in an index.
        return statement.replace("clock_timestamp()", "statement_timestamp()"), tuple(params)


def read(using: str) -> datetime:
    """Ask the database for its time."""
    connection = connections[using]
    statement, params = sql(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {statement}", params)
        value: str | datetime = cursor.fetchone()[0]
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
