"""What Celery is given with a message, so that no broker keeps a request waiting."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Exchange, Queue

from django_progress.publishing import CeleryEngine
from tests.celery import app
from tests.travel import tasks

REDIS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5, "max_retries": 0, "retry_on_timeout": False}
AMQP = {"read_timeout": 0.5, "write_timeout": 0.5, "max_retries": 0, "confirm_publish": True}


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


def publish(name: str, **options: object) -> bool:
    return CeleryEngine().publish(name, task_id="an-id", key="a-key", options=options)


@pytest.mark.parametrize("name", [tasks.nightly.name, "elsewhere.only.a.worker.knows.it"])
def test_messages_are_json_and_not_tried_again(sent: list[Any], name: str) -> None:
    assert publish(name, queue="slow", priority=3) is True
    [(called, args, options)] = sent
    assert (called, tuple(args)) == (name, ("a-key",))
    assert options.pop("connection").connect_timeout == 0.5
    assert options.pop("headers") == {"django_progress": "a-key"}
    assert options == {
        "task_id": "an-id", "queue": "slow", "priority": 3, "retry": False, "serializer": "json",
        "add_to_parent": False,
    }  # fmt: skip


def test_no_option_changes_that(sent: list[Any]) -> None:
    headers = {"trace": 1, "django_progress": "another"}
    publish(tasks.nightly.name, retry=True, serializer="pickle", task_id="another", connection=None, headers=headers)
    [(_name, _args, options)] = sent
    assert (options["retry"], options["serializer"], options["task_id"]) == (False, "json", "an-id")
    assert options["connection"] is not None
    assert options["headers"] == {"trace": 1, "django_progress": "a-key"}


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


def test_messages_that_are_sent_together_share_a_connection(sent: list[Any]) -> None:
    engine = CeleryEngine()

    def published(number: int) -> Any:
        assert engine.publish(tasks.nightly.name, task_id=f"id-{number}", key="a-key", options={}) is True
        return sent[-1][2]["connection"]

    with engine.together():
        first, second = published(1), published(2)
    alone = published(3)
    with engine.together():
        later = published(4)
    assert first is second
    assert len({id(connection) for connection in (first, alone, later)}) == 3
    assert not any(connection.connected for connection in (first, alone, later))


def test_together_they_are_not_sent_by_a_connection_that_failed(conf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message that can't be sent for its own sake takes its connection with it, and no other message."""
    engine, used = CeleryEngine(), []

    def apply_async(args: Any = None, **options: Any) -> None:
        used.append(options["connection"])
        options["connection"].ensure_connection(max_retries=1)
        if options["task_id"] == "bad":
            raise ValueError(options["task_id"])

    monkeypatch.setattr(app.tasks[tasks.nightly.name], "apply_async", apply_async)
    with engine.together():
        for task_id in ("good", "bad", "better", "best"):
            assert engine.publish(tasks.nightly.name, task_id=task_id, key="a-key", options={}) is True
    good, bad, better, best = used
    assert good is bad
    assert better is best
    assert better is not bad
    assert not any(connection.connected for connection in used)


def test_the_queue_of_an_exchange_and_a_key_is_the_one_that_is_bound_so() -> None:
    engine = CeleryEngine()
    queues = app.amqp.queues
    before = dict(queues)
    queues.add(Queue("video", Exchange("media"), routing_key="media.video"))
    try:
        assert engine.queue_for("x", {"exchange": "media", "routing_key": "media.video"}) == "video"
        assert engine.queue_for("x", {"exchange": "media", "routing_key": "media.sound"}) == ""
        assert engine.queue_for("x", {"queue": "video"}) == "video"
        assert engine.queue_for("x", {}) == app.conf.task_default_queue
    finally:
        for name in set(queues) - set(before):
            del queues[name]


def test_a_transport_that_is_not_there_raises_nothing(conf: Any) -> None:
    engine = CeleryEngine()
    conf.update(broker_url="nonsense://x")
    assert engine.publish("x", task_id="1", key="k", options={}) is False
