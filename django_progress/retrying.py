"""Writing again what a database gave up, or lost with its connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

__all__ = ["retried"]

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

TURNS = 5
PASSING = {1020, 1205, 1213, "40001", "40P01"}
"""What MariaDB and PostgreSQL call a transaction that was given up in favour of another one."""
CUT = {1053, 1927, 2006, 2013, 4031, "57P01", "57P02", "57P03"}
"""What they call a connection that is gone."""


def retried(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Call again what the database gave up in favour of another transaction, or what met a connection that was cut.

    For what writes to one process, its first argument. In a transaction of the caller's
    nothing is repeated: that is lost as a whole, and only the caller can begin it again.
    If a connection is cut just as it commits, a report may so be written twice; the end
    can't, and neither can a claim.
    """

    @wraps(function)
    def repeated(process: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        connection = connections[process._using]  # type: ignore[attr-defined]
        if connection.in_atomic_block:
            return function(process, *args, **kwargs)
        begin, give_back = (getattr(process, name, _nothing) for name in ("_begin", "_give_back"))
        for turn in range(1, TURNS):
            begin()
            try:
                return function(process, *args, **kwargs)
            except (InterfaceError, OperationalError) as error:
                give_back()
                if not (_is_passing(error) or (turn == 1 and _was_cut(error))):
                    raise
                if connection.connection is not None and not connection.is_usable():
                    connection.close()  # The next query opens another.
                time.sleep(0.005 * 2**turn)
        return function(process, *args, **kwargs)

    return repeated


def _nothing() -> None:
    """What a manager has to begin and to give back."""


def _was_cut(error: Exception) -> bool:
    """Say whether an error means that the connection is gone. (Django may have opened another already.)"""
    if isinstance(error, InterfaceError):
        return True
    nothing = object()
    state = getattr(error.__cause__, "sqlstate", nothing)
    # What psycopg finds out by itself has no code of the server's.
    return state is None or bool(CUT & {*error.args[:1], state}) or str(state).startswith("08")


def _is_passing(error: Exception) -> bool:
    # MySQLdb's number, psycopg's code.
    return bool(PASSING & {*error.args[:1], getattr(error.__cause__, "sqlstate", None)})
