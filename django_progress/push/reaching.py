"""What ``progress_doctor`` finds of wake-ups: whether a word that is sent is heard."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured

from ..conf import settings
from ..doctor import Finding, Level
from .wakeups import WakeUps, configured

__all__ = ["examine"]

PATIENCE = 3.0
"""Seconds in which a word must have come back."""


def examine() -> Iterator[Finding]:
    """Yield what there is to say about ``WAKE_UPS``."""
    if settings.STREAMS == "never":
        return
    try:
        wake_ups = configured()
    except ImproperlyConfigured:
        return  # Found among the settings.
    if not wake_ups.has_channel:
        text = f"None: every {settings.WATCH_INTERVAL:g} s streams look at the database, once for each server process."
        yield Finding(Level.INFO, "wake-ups", text, "Set WAKE_UPS to the address of a Redis: changes are seen sooner.")
    elif reason := _unheard(wake_ups):
        text = f"What is sent by {type(wake_ups).__name__} is not heard: {reason}"
        fix = "Start it, or look at WAKE_UPS. Until then streams look at the database now and then."
        yield Finding(Level.ERROR, "wake-ups", text, fix)
    else:
        yield Finding(Level.OK, "wake-ups", f"What is sent by {type(wake_ups).__name__} is heard.")


def _unheard(wake_ups: WakeUps) -> str:
    """Return why a word doesn't come back, "" if it does."""
    reason = [f"no answer within {PATIENCE:g} s."]

    def ask() -> None:
        try:
            asyncio.run(asyncio.wait_for(_send_and_hear(wake_ups), PATIENCE))
            reason[0] = ""
        except TimeoutError:
            return
        except Exception as error:
            reason[0] = str(error) or repr(error)

    # In a thread, since this one may have an event loop, and an adapter of one's own may block.
    thread = threading.Thread(target=ask, name="django_progress doctor", daemon=True)
    thread.start()
    thread.join(PATIENCE + 1)  # Longer than it takes by itself to give up, and to leave nothing that listens.
    return reason[0]


async def _send_and_hear(wake_ups: WakeUps) -> None:
    word = f"session {secrets.token_hex(8)}"  # Nobody's.
    begun, back = asyncio.Event(), asyncio.Event()

    def heard(each: str) -> None:
        if each == word:
            back.set()

    listening = asyncio.create_task(wake_ups.listen(heard, begun.set))
    try:
        await begun.wait()
        await asyncio.to_thread(wake_ups.send, [word])
        await back.wait()
    finally:
        listening.cancel()
