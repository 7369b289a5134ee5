"""An answer that waits until there is something to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest

from ..conf import settings
from ..models import Process
from ..push.hub import Hub, HubClosed

if TYPE_CHECKING:
    from .api import Asked

__all__ = ["wait_for_event"]

_waiting = 0
_lock = Lock()


def wait_for_event(request: HttpRequest, process: Process, asked: Asked) -> bool:
    """Wait for an event that is asked for, on the server's event loop; return False at once where there is none.

    No database connection is held meanwhile; where a transaction is open, which holds one, nobody waits.
    A thread is, so no more than ``MAX_STREAMS`` answers wait in one server process.
    """
    if not isinstance(request, ASGIRequest):
        return False
    if any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        return False
    with _a_place() as is_free:
        if is_free:
            connections.close_all()
            async_to_sync(_wait)(process.pk, asked.after, asked.wait)
        return is_free


@contextmanager
def _a_place() -> Iterator[bool]:
    """Count one more that waits, inside the block; or say that there are too many already."""
    global _waiting
    with _lock:
        is_free = _waiting < settings.MAX_STREAMS
        _waiting += is_free
    try:
        yield is_free
    finally:
        with _lock:
            _waiting -= is_free


async def _wait(pk: int, seq: int, seconds: float) -> None:
    with suppress(HubClosed):
        await Hub.here().event_after(pk, seq, seconds)
