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

PARENT: Any = SimpleNamespace(
    hostname="a@host", app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={"b": 1, "a": 2})))
)


@pytest.fixture(autouse=True)
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been noted of the worker; None for that it has ended."""
    noted: list[Any] = []
    monkeypatch.setattr(worker.presence, "note", lambda *args, **kwargs: noted.append((*args, kwargs["swept"])))
    monkeypatch.setattr(worker.presence, "forget", lambda name: noted.append(None))
    return noted


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


def test_the_setting_turns_it_off_and_the_worker_is_noted_all_the_same(
    monkeypatch: pytest.MonkeyPatch, settings: Any, notes: list[Any]
) -> None:
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 0, "HEARTBEAT": 0.01}
    monkeypatch.setattr(worker, "sweep", pytest.fail)
    step = worker.SweepStep(PARENT)
    step.start(PARENT)
    wait_until(lambda: len(notes) >= 3, what="three notes")
    step.stop(PARENT)
    assert notes[:3] == [("a@host", ["b", "a"], False)] * 3
    assert notes[-1] is None


def test_a_worker_is_noted_between_sweeps_that_are_far_apart(
    monkeypatch: pytest.MonkeyPatch, settings: Any, notes: list[Any]
) -> None:
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 3600, "HEARTBEAT": 0.01}
    monkeypatch.setattr(worker, "sweep", pytest.fail)
    step = worker.SweepStep(PARENT)
    step.start(PARENT)
    wait_until(lambda: len(notes) >= 3, what="three notes")
    step.stop(PARENT)


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("redis://localhost/0", None, {"socket_timeout": 30, "socket_connect_timeout": 30}),
        ("rediss://localhost/0", {"socket_timeout": 5}, {"socket_timeout": 5, "socket_connect_timeout": 30}),
        (["redis://a/0", "redis://b/0"], None, {"socket_timeout": 30, "socket_connect_timeout": 30}),
        ("amqp://localhost//", {"a": 1}, {"a": 1, "read_timeout": 10, "write_timeout": 10}),
        ("pyamqp://localhost//", {"read_timeout": 5}, {"read_timeout": 5, "write_timeout": 10}),
        ("filesystem://", {"a": 1}, {"a": 1}),
        (None, None, None),
    ],
)
def test_a_silent_broker_is_not_waited_for_for_ever(url: Any, given: Any, expected: Any) -> None:
    conf = SimpleNamespace(broker_read_url=None, broker_url=url, broker_transport_options=given)
    worker.bound_reads(SimpleNamespace(conf=conf))
    assert conf.broker_transport_options == expected
