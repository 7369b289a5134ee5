"""Hints beside the caller's transaction: seen at once, although the caller has not committed.

A body that works inside ``atomic()`` still wants people to see how far it is. Its hints
(numbers, messages, log lines) are written on a second connection, a copy of the caller's.
Two things could go wrong, and both end in the same way out: the caller's own connection.

- The caller itself holds the process's row, or somebody else does: the second connection
  waits a quarter of a second at most. The database can't see that one would wait for oneself.
- The row, or the claim, is not committed yet: the second connection finds nothing to change.

From then on that transaction's hints are the caller's, where the same guard decides. So
they are from the beginning where a second connection could not see or do what it should:
on SQLite (one writer), above READ COMMITTED, in a test case's transaction, and wherever
no attempt executes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import failpoints

__all__ = ["alias", "is_above_read_committed", "keep_to_the_caller", "written"]

R = TypeVar("R")

logger = logging.getLogger("django_progress")

LIMIT = 250
"""Milliseconds for which the second connection waits for a row."""
ATTRIBUTE = "_django_progress_beside"
READ_COMMITTED = {"", "read committed", "READ_COMMITTED"}

alias: ContextVar[str | None] = ContextVar("django_progress_beside", default=None)
"""The alias of the second connection, while something is written on it."""

_inherited: list[Any] = []
"""Connections of the process that this one was forked from: closing them would end them there too."""


class _Copy(NamedTuple):
    connection: BaseDatabaseWrapper
    pid: int


def written(using: str, committed: bool, write: Callable[[], R | None], undo: Callable[[], None]) -> R | None:
    """Call ``write``, beside the caller's transaction if there is one and that can be done.

    ``committed`` says whether an attempt executes here whose claim is committed. ``write``
    returns None for what was refused; it is then called again in the caller's transaction,
    after ``undo``.
    """
    connection = connections[using]
    if not (committed and connection.in_atomic_block and _can_be_left(connection)):
        return write()
    result = None
    try:
        with _second(connection):
            failpoints.reach("beside.before")
            result = write()
    except (InterfaceError, OperationalError) as error:
        logger.debug("A hint is written in the caller's transaction: %s", error)
        result = None  # Also if it was the commit that failed.
        undo()
    # If it is written now, whoever writes it calls keep_to_the_caller().
    return write() if result is None else result


def keep_to_the_caller(connection: BaseDatabaseWrapper) -> None:
    """Write further hints of this transaction in it: it may hold the row that they change."""
    if connection.in_atomic_block and not _is_kept(connection):
        # Gone with the transaction, or with the savepoint whose end lets the row go again.
        transaction.on_commit(_kept, using=connection.alias)


def is_above_read_committed(connection: BaseDatabaseWrapper) -> bool:
    """Say whether its transactions don't see what others commit meanwhile."""
    level = getattr(connection, "isolation_level", None)
    if level is None:  # Not connected yet.
        level = connection.settings_dict.get("OPTIONS", {}).get("isolation_level") or ""
    return str(getattr(level, "name", level)) not in READ_COMMITTED


def _is_isolated(connection: BaseDatabaseWrapper) -> bool:
    """Ask the database about this very transaction: Django only knows what it was told to set itself."""
    if is_above_read_committed(connection) or connection.needs_rollback:
        return True
    with connection.cursor() as cursor:
        # On MariaDB the variable's name depends on the version, and tells of the session.
        postgres = connection.vendor == "postgresql"
        cursor.execute("SHOW transaction_isolation" if postgres else "SHOW VARIABLES LIKE 't%%isolation'")
        level = str(cursor.fetchone()[-1])
    return level.replace("-", " ").lower() not in ("read committed", "read uncommitted")


def _kept() -> None:
    """Mark a transaction, among its hooks."""


def _is_kept(connection: BaseDatabaseWrapper) -> bool:
    return any(hook[1] is _kept for hook in connection.run_on_commit)


def _can_be_left(connection: BaseDatabaseWrapper) -> bool:
    return (
        connection.vendor in ("postgresql", "mysql")
        and alias.get() is None
        and not _is_kept(connection)
        and not _is_isolated(connection)
        # Nothing that a test case did is ever committed. (Django's own private mark.)
        and not any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
    )


@contextmanager
def _second(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Make the copy of ``connection`` the one that is written on, in a transaction of its own."""
    copy = _copied(connection)
    name = copy.alias
    connections[name] = copy
    before = alias.set(name)
    try:
        _limit(copy)
        with transaction.atomic(using=name):
            if copy.vendor == "postgresql":
                with copy.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {LIMIT}")
            yield
    except BaseException:
        if copy.connection is not None and not copy.is_usable():
            copy.close()
        raise
    finally:
        alias.reset(before)
        del connections[name]


def _limit(copy: BaseDatabaseWrapper) -> None:
    if copy.connection is None:
        copy.connect()
        if copy.vendor == "mysql":
            shortest = 0 if getattr(copy, "mysql_is_mariadb", False) else 1
            with copy.cursor() as cursor:
                cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {shortest}")


def _copied(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    known: _Copy | None = connection.__dict__.get(ATTRIBUTE)
    if known is not None and known.pid == os.getpid():
        return known.connection
    copy = connection.copy(f"{connection.alias} beside")
    # A pool would be one more, under the copy's name, that nobody closes.
    copy.settings_dict["OPTIONS"] = {
        name: value for name, value in copy.settings_dict.get("OPTIONS", {}).items() if name != "pool"
    }
    made = _Copy(copy, os.getpid())
    connection.__dict__[ATTRIBUTE] = made
    close = connection.close

    def close_both() -> None:
        if made.pid == os.getpid():
            copy.close()
        else:
            _inherited.append(copy.connection)
            copy.connection = None
        close()

    # Whoever closes the one, for whatever reason, has closed the other.
    connection.close = close_both  # type: ignore[method-assign]
    return copy
