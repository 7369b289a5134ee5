"""Threads that begin at the same moment, each on a database connection of its own, and how it went."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connections

from django_progress.exceptions import ProcessFinished, ProcessStopped


def together(count: int, function: Callable[[int], Any]) -> list[Any]:
    """Call ``function(0)`` … ``function(count - 1)`` at once; return what they return, or raise what one raised."""
    return all_together(*[lambda number=number: function(number) for number in range(count)])


def all_together(*functions: Callable[[], Any], longest: float = 60) -> list[Any]:
    """Call different functions at once; after ``longest`` seconds whoever isn't back hangs."""
    barrier = threading.Barrier(len(functions), timeout=30)
    results: list[Any] = [None] * len(functions)
    errors: list[BaseException] = []

    def run(number: int, function: Callable[[], Any]) -> None:
        try:
            connections["default"].ensure_connection()
            barrier.wait()
            results[number] = function()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(longest)
        assert not thread.is_alive(), "A thread hangs."
    if errors:
        raise errors[0]
    return results


def tried(function: Callable[[], Any]) -> str:
    """Call it, and return how that went."""
    try:
        function()
    except ProcessFinished:
        return "too late"
    except ProcessStopped as stop:
        return type(stop).__name__
    return "done"


def elsewhere(function: Callable[[], Any]) -> Any:
    """Return what ``function`` returns on another connection, which sees only what is committed."""
    return all_together(function)[0]
