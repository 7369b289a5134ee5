"""A read replica that lags: a second connection that sees the database as it was at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections

ALIAS = "replica"
SNAPSHOTS = {
    "postgresql": ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SELECT 1"],
    "mysql": [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ],
    # A transaction that has read goes on seeing what it saw.
    "sqlite": ["BEGIN DEFERRED", "SELECT count(*) FROM django_progress_process"],
}


class Router:
    """Reads from the replica, writes to the database: as in Django's documentation."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return ALIAS

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True


@contextmanager
def lagging(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Read from a replica; what is yielded makes it catch up, and then it stands still."""
    copy = connection.copy(ALIAS)

    def run(*statements: str) -> None:
        with copy.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                if statement.startswith("SELECT"):
                    cursor.fetchall()

    def catch_up() -> None:
        run("ROLLBACK", *SNAPSHOTS[connection.vendor])

    monkeypatch.setitem(connections.settings, ALIAS, copy.settings_dict)
    connections[ALIAS] = copy
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    copy.connect()  # unlike a query, nothing that Django's test cases forbid
    try:
        run(*SNAPSHOTS[connection.vendor])
        yield catch_up
    finally:
        settings.DATABASE_ROUTERS = []
        copy.close()
        del connections[ALIAS]
