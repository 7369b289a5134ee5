"""What every Celery worker does for processes by itself: it sweeps."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import bootsteps, signals
from django.db import connections

from .conf import settings
from .retention import prune
from .sweep import sweep

__all__ = ["SweepStep", "install"]

logger = logging.getLogger("django_progress")

PRUNE_EVERY = 3600.0


class SweepStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """A thread in the worker's main process, started after its children were forked."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def include_if(self, worker: Any) -> bool:
        """Leave it out where the setting turns it off."""
        return bool(settings.SWEEP_INTERVAL)

    def start(self, worker: Any) -> None:
        """Begin to sweep."""
        self._thread = threading.Thread(target=self._run, name="django_progress sweep", daemon=True)
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """Stop after what is being done."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    terminate = stop

    def _run(self) -> None:
        pruned_at = time.monotonic() - PRUNE_EVERY + 60
        while not self._stopping.wait(settings.SWEEP_INTERVAL):
            try:
                sweep()
                if time.monotonic() - pruned_at >= PRUNE_EVERY:
                    pruned_at = time.monotonic()
                    prune()
            except Exception as error:
                logger.warning("A sweep failed, the next one tries again: %s", error)
            finally:
                # A child that is forked later must not share a connection with this process.
                connections.close_all()


def install(sender: Any = None, **kwargs: Any) -> None:
    """Give a worker that is about to start the step that sweeps."""
    sender.app.steps["worker"].add(SweepStep)


signals.worker_init.connect(install, weak=False, dispatch_uid="django_progress.sweep")
