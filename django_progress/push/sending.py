"""Sending words from whoever writes: off to the side, together, and never for long.

One thread of each OS process takes them from a set, in which many about one process are one.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import Any

from django.core.signals import setting_changed

from .. import nudges
from ..conf import NAME, settings
from .wakeups import WakeUps, configured

__all__ = ["WordSender", "flush", "follow", "install"]

logger = logging.getLogger("django_progress")

GAP = 0.02
"""Seconds between two sendings, in which words gather."""
PAUSE = 1.0
"""The same after one that failed."""
MOST = 10_000
"""Words that wait at most; what comes then is lost."""
LAST = 1.0
"""Seconds for which a program that ends waits for its last words to be sent."""


class WordSender:
    """Sends words by what ``WAKE_UPS`` names, in a thread that is started with the first one."""

    def __init__(self) -> None:
        self._inherited: list[object] = []
        self._wake_ups: WakeUps | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a process that was just forked: threads and locks were left behind."""
        # Collected, they would close connections that are the parent's.
        self._inherited.append(self._wake_ups)
        self._wake_ups = None
        self._made_for = ""
        # Reentrant: a signal's handler may report in the middle of a report.
        self._change = threading.Condition(threading.RLock())
        self._words: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_sending = self._is_failing = False

    def send(self, word: str) -> None:
        """Take a word; it is sent at once if there was none for a while, else with others, or lost."""
        with self._change:
            if len(self._words) >= MOST:
                return
            self._words.add(word)
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self._change.notify_all()

    def flush(self, patience: float = LAST) -> None:
        """Wait until what was taken is sent, but no longer than that, and not at all for what fails."""
        end = time.monotonic() + patience
        with self._change:
            while (self._words or self._is_sending) and not self._is_failing:
                if self._thread is None or not self._thread.is_alive():
                    return
                if not self._change.wait(max(0.0, end - time.monotonic())):
                    return

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="django_progress words", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # The interpreter is about to end.
            self._thread = None
            self._words.clear()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._words:
                    self._change.wait()
                words, self._words = self._words, set()
                self._is_sending = True
            sent = self._deliver(words)
            with self._change:
                self._is_sending, self._is_failing = False, not sent
                self._change.notify_all()
            time.sleep(GAP if sent else PAUSE)

    def _deliver(self, words: set[str]) -> bool:
        try:
            if self._wake_ups is None or self._made_for != settings.WAKE_UPS:
                self._made_for = settings.WAKE_UPS
                self._wake_ups = configured()
            if self._wake_ups.has_channel:
                self._wake_ups.send(words)
        except Exception as error:
            if not self._is_failing:
                logger.warning(
                    "Wake-ups can't be sent, streams look at the database meanwhile: %s: %s",
                    type(error).__name__,
                    error,
                )
            return False
        if self._is_failing:
            logger.info("Wake-ups are sent again.")
        return True


_sender = WordSender()
flush = _sender.flush


def follow(*, setting: str = NAME, **kwargs: Any) -> None:
    """Have words sent if ``WAKE_UPS`` says by what; where it doesn't, a write does nothing for it."""
    if setting == NAME:
        # What is no dict, a system check says; it is asked later than this.
        is_wanted = isinstance(settings.given(), dict) and settings.WAKE_UPS
        nudges.register(_sender if is_wanted else None)


def install() -> None:
    """Send words from here on, in this process and in those that it forks."""
    follow()
    setting_changed.connect(follow, dispatch_uid="django_progress.words")
    os.register_at_fork(after_in_child=_sender.forget)
    atexit.register(flush)
