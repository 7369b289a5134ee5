"""Threads that work with the database for asynchronous code, each with a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from asgiref.sync import SyncToAsync
from django.db import InterfaceError, OperationalError, connections

__all__ = ["DatabaseThread", "close_idle_connections", "end_request_thread"]

R = TypeVar("R")


class DatabaseThread:
    """One thread. It keeps its connection between two calls, and replaces one that was cut."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"django_progress {name}")

    async def run(self, function: Callable[[], R]) -> R:
        """Return what ``function`` returns, called in the thread; twice, if it met a connection that was cut."""
        # Whoever is cancelled here leaves what has begun to end by itself.
        return await asyncio.wrap_future(self._executor.submit(_work, function))

    def rest(self) -> None:
        """Close its connections when it has done what it was given so far."""
        with suppress(RuntimeError):  # It has ended.
            self._executor.submit(close_idle_connections)

    def end(self) -> None:
        """End it, without waiting, when it has done what it was given so far."""
        self.rest()
        self._executor.shutdown(wait=False)


def close_idle_connections() -> None:
    """Close this thread's connections, but for those in a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def end_request_thread() -> None:
    """Let the thread end that Django has given the request that is answered here, if it has one.

    Django keeps it to the request's end: a thread that sleeps, and what it knows of the database,
    for each open stream. Whoever needs one later gets another. asgiref has no call for this; where
    its insides look different one day, the threads stay (and a test fails).
    """
    variable = getattr(SyncToAsync, "thread_sensitive_context", None)
    context = variable.get(None) if variable is not None else None
    if context is None or getattr(context, "_executor", None) is not None:
        return  # There is none, or it belongs to whoever called Django.
    executor = getattr(SyncToAsync, "context_to_thread_executor", {}).pop(context, None)
    if executor is not None:
        executor.shutdown(wait=False)


def _work(function: Callable[[], R]) -> R:
    try:
        try:
            return function()
        except (InterfaceError, OperationalError):
            if not _replace_broken():
                raise
            return function()
    finally:
        _replace_broken()


def _replace_broken() -> bool:
    """Close the connections that are of no use any more; return whether there were any."""
    found = False
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        if connection.errors_occurred and connection.connection is not None:
            if connection.is_usable():
                connection.errors_occurred = False
            else:
                connection.close()
                found = True
        elif connection.close_at is not None and connection.settings_dict["CONN_MAX_AGE"]:
            connection.close_if_unusable_or_obsolete()
    return found
