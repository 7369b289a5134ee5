"""Hearing that the server stops: it would wait for its streams, which have no reason to end."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["on_stop"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_calls: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}
_is_stopping = False
"""Whether this program was asked to end, and whoever had to say so has not refused."""


def on_stop(call: Callable[[], None]) -> None:
    """Call ``call`` in the running loop when a signal asks this program to end, and then do what was done before.

    At once if it was asked already. Signals are heard of from the main thread only, and from then
    on for good: who begins between the signal and the end has to know of it too.
    """
    loop = asyncio.get_running_loop()
    for ended in [each for each in _calls if each.is_closed()]:
        del _calls[ended]
    _calls[loop] = call
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            before = signal.getsignal(number)
            # None: not set by Python, so that it can't be set again.
            if before not in (None, signal.SIG_IGN) and not isinstance(before, Handler):
                signal.signal(number, Handler(before))
    if _is_stopping:
        loop.call_soon(call)


class Handler:
    """Tells all hubs, and then does what was done before."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        global _is_stopping
        for loop, call in list(_calls.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(call)
        if callable(self._before):
            self._before(number, frame)
            _is_stopping = True
        else:
            signal.signal(number, self._before)
            signal.raise_signal(number)
