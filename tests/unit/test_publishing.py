"""What Celery is given with a message, so that no broker keeps a request waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_progress.publishing import CeleryEngine
from tests.celery import app
from tests.travel import tasks

REDIS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5, "max_retries": 0, "retry_on_timeout": False}
AMQP = {"read_timeout": 0.5, "write_timeout": 0.5, "max_retries": 0}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[tuple[str, Any, dict[str, Any]]]:
    """Collect how Celery is called (task, arguments, options) instead of calling it."""
    settings.DJANGO_PROGRESS = {"PUBLISH_TIMEOUT": 0.5}
    calls: list[tuple[str, Any, dict[str, Any]]] = []

    def send_task(name: str, args: Any = None, **options: Any) -> None:
        calls.append((name, args, options))

    def apply_async(args: Any = None, **options: Any) -> None:
        calls.append((tasks.nightly.name, args, options))

    monkeypatch.setattr(app, "send_task", send_task)
    monkeypatch.setattr(app.tasks[tasks.nightly.name], "apply_async", apply_async)
    return calls


@pytest.fixture
def conf() -> Iterator[Any]:
    """Celery's settings of the broker, to be changed."""
    before = {name: getattr(app.conf, name) for name in ("broker_url", "broker_transport_options")}
    yield app.conf
    app.conf.update(before)


def publish(name: str, **options: object) -> bool:
    return CeleryEngine().publish(name, task_id="an-id", key="a-key", options=options)


@pytest.mark.parametrize("name", [tasks.nightly.name, "elsewhere.only.a.worker.knows.it"])
def test_messages_are_json_and_not_tried_again(sent: list[Any], name: str) -> None:
    assert publish(name, queue="slow", priority=3) is True
    [(called, args, options)] = sent
    assert (called, tuple(args)) == (name, ("a-key",))
    assert options.pop("connection").connect_timeout == 0.5
    assert options == {"task_id": "an-id", "queue": "slow", "priority": 3, "retry": False, "serializer": "json"}


def test_no_option_changes_that(sent: list[Any]) -> None:
    publish(tasks.nightly.name, retry=True, serializer="pickle", task_id="another", connection=None)
    [(_name, _args, options)] = sent
    assert (options["retry"], options["serializer"], options["task_id"]) == (False, "json", "an-id")
    assert options["connection"] is not None


@pytest.mark.parametrize("name", [tasks.nightly.name, "elsewhere.only.a.worker.knows.it"])
@pytest.mark.parametrize(
    ("scheme", "bounds"),
    [
        *[(scheme, REDIS) for scheme in ("redis", "rediss", "sentinel")],
        *[(scheme, AMQP) for scheme in ("amqp", "amqps", "pyamqp")],
        ("memory", {}),
    ],
)
def test_every_wait_is_bounded(sent: list[Any], conf: Any, name: str, scheme: str, bounds: dict[str, Any]) -> None:
    # What the project configured is kept, unless it is a wait.
    configured = {"global_keyprefix": "ours:", "socket_timeout": 99, "read_timeout": 99, "max_retries": 99}
    conf.update(broker_url=f"{scheme}://127.0.0.1:1//", broker_transport_options=configured)
    assert publish(name) is True
    [(_name, _args, options)] = sent
    connection = options["connection"]
    assert connection.connect_timeout == 0.5
    assert connection.transport_options == configured | bounds
