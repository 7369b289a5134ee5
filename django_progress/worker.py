"""What every Celery worker does for processes by itself: it sweeps, and says that it is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps, signals
from django.db import connections

from . import forks, presence
from .conf import settings
from .retention import prune
from .sweep import sweep

__all__ = ["SweepStep", "install"]

logger = logging.getLogger("django_progress")

PRUNE_EVERY = 3600.0
SILENCES = {
    "redis": {"socket_timeout": 30.0, "socket_connect_timeout": 30.0},
    # Celery's goodbye waits seven times and more.
    "amqp": {"read_timeout": 10.0, "write_timeout": 10.0},
}
"""Seconds for which a worker waits for an answer of its broker, where Celery's own options don't say."""
SCHEMES = {"rediss": "redis", "sentinel": "redis", "amqps": "amqp", "pyamqp": "amqp", "py-amqp": "amqp"}


class SweepStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """A thread in the worker's main process, started after its children were forked."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._worker = worker
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pruned_at = time.monotonic() - PRUNE_EVERY + 60
        self._pruning: threading.Thread | None = None
        self._noted_at = -1e9
        self._swept = False

    def start(self, worker: Any) -> None:
        """Begin to sweep, unless ``SWEEP_INTERVAL`` turns that off."""
        self._thread = threading.Thread(target=self._run, name="django_progress sweep", daemon=True)
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """Stop after what is being done."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    terminate = stop

    def _run(self) -> None:
        self._attempt(self._note)
        sweep_at = time.monotonic() + settings.SWEEP_INTERVAL
        while not self._stopping.wait(self._pause(sweep_at)):
            if settings.SWEEP_INTERVAL and time.monotonic() >= sweep_at:
                self._attempt(self._sweep)
                sweep_at = time.monotonic() + settings.SWEEP_INTERVAL
            if time.monotonic() - self._noted_at >= settings.HEARTBEAT:
                self._attempt(self._note)
        self._attempt(self._leave)

    def _pause(self, sweep_at: float) -> float:
        note_at: float = self._noted_at + settings.HEARTBEAT
        soonest = min(note_at, sweep_at) if settings.SWEEP_INTERVAL else note_at
        return max(0.0, soonest - time.monotonic())

    def _attempt(self, part: Callable[[], object]) -> None:
        with forks.kept_off():
            try:
                part()
            except Exception as error:
                logger.warning("A sweep failed, the next one tries again: %s", error)
            finally:
                # A child that is forked later must not share a connection with this process.
                connections.close_all()

    def _sweep(self) -> None:
        sweep()
        self._swept = True
        if time.monotonic() - self._pruned_at >= PRUNE_EVERY and not (self._pruning and self._pruning.is_alive()):
            self._pruned_at = time.monotonic()
            # Millions of rows take their time, and nobody's expiry is to wait for it.
            self._pruning = threading.Thread(
                target=self._attempt, args=(prune,), name="django_progress prune", daemon=True
            )
            self._pruning.start()

    def _note(self) -> None:
        self._noted_at = time.monotonic()
        queues = [str(name) for name in self._worker.app.amqp.queues.consume_from]
        presence.note(self._worker.hostname, queues, swept=self._swept)
        self._swept = False

    def _leave(self) -> None:
        presence.forget(self._worker.hostname)


def bound_reads(app: Any) -> None:
    """Have a worker whose broker is up and silent give it up in the end.

    Celery says goodbye to its broker when it is told to end, and waits for the answer for
    ever where its own options set no limit.
    """
    urls = app.conf.broker_read_url or app.conf.broker_url or ""
    scheme = str(urls[0] if isinstance(urls, (list, tuple)) and urls else urls).partition(":")[0]
    limits = SILENCES.get(SCHEMES.get(scheme, scheme))
    if limits:
        app.conf.broker_transport_options = {**limits, **(app.conf.broker_transport_options or {})}


def install(sender: Any = None, **kwargs: Any) -> None:
    """Give a worker that is about to start the step that sweeps."""
    bound_reads(sender.app)
    sender.app.steps["worker"].add(SweepStep)


signals.worker_init.connect(install, weak=False, dispatch_uid="django_progress.sweep")
