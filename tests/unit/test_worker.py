"""The thread in which a worker sweeps."""

from __future__ import annotations

import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections

from django_progress import worker
from tests.workers import wait_until

PARENT: Any = SimpleNamespace()


@pytest.mark.django_db(transaction=True)
def test_no_connection_outlives_a_pass(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A child that is forked between two passes would share it with the worker."""
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 0.001}
    caplog.set_level("WARNING", "django_progress")
    opened: list[bool] = []
    used: list[Any] = []
    enough = threading.Event()

    def sweep(using: str = "default") -> Counter[str]:
        connection = connections[using]
        used.append(connection)
        opened.append(connection.connection is not None)
        connection.ensure_connection()
        if len(opened) == 2:
            raise RuntimeError("no luck today")
        if len(opened) == 4:
            step._stopping.set()
            enough.set()
        return Counter()

    monkeypatch.setattr(worker, "sweep", sweep)
    step = worker.SweepStep(PARENT)
    step.start(PARENT)
    assert enough.wait(30)
    step.stop(PARENT)
    assert step._thread is not None
    assert not step._thread.is_alive()
    assert opened == [False] * 4
    assert [connection.connection for connection in used] == [None] * 4
    assert "no luck today" in caplog.text


def test_a_worker_that_stops_waits_for_no_interval(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 3600}
    monkeypatch.setattr(worker, "sweep", pytest.fail)
    step = worker.SweepStep(PARENT)
    step.start(PARENT)
    thread = step._thread
    assert thread is not None
    assert thread.is_alive()
    step.stop(PARENT)
    wait_until(lambda: not thread.is_alive(), timeout=5, what="the thread to end")


def test_the_setting_turns_it_off(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 0}
    assert worker.SweepStep(PARENT).include_if(PARENT) is False
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 5}
    assert worker.SweepStep(PARENT).include_if(PARENT) is True
