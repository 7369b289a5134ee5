"""What waits on a broker can be looked at without being taken, and ours is told from others'."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from django_progress.invariants import find_violations
from django_progress.models import Process
from django_progress.publishing import CeleryEngine
from tests import workers
from tests.celery import add, app
from tests.travel import tasks
from tests.workers import Broker

pytestmark = pytest.mark.django_db(transaction=True)

SEEN = ["filesystem", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.mark.parametrize("broker", SEEN, indirect=True)
def test_messages_are_seen_and_stay(broker: Broker) -> None:
    engine = CeleryEngine()
    assert engine.messages(broker.queue, 10) == []
    processes = [tasks.nightly.using(priority=priority).start() for priority in (0, 3, 9)]
    add.delay(1, 2)
    app.send_task("elsewhere.add", (str(uuid.uuid4()),))
    tasks.nightly.using(queue=f"{broker.queue}_other").start()
    expected = sorted((process.task_id, str(process.key)) for process in processes)
    for _ in range(2):
        seen = engine.messages(broker.queue, 10)
        assert seen is not None
        assert sorted(seen) == expected
    assert len(engine.messages(broker.queue, 1) or ()) <= 1
    assert find_violations() == []
    Process.objects.filter(pk=processes[0].pk).delete()
    assert [(found.invariant, found.process) for found in find_violations()] == [("I6", str(processes[0].key))]


@pytest.mark.redis
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_long_queues_are_read_in_pages(broker: Broker) -> None:
    for _ in range(501):
        CeleryEngine().publish("elsewhere", task_id="an-id", key="a-key", options={})
    assert len(CeleryEngine().messages(broker.queue, 10_000) or ()) == 501


@pytest.mark.rabbitmq
@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_queue_that_can_only_be_emptied_is_not_looked_at(broker: Broker) -> None:
    tasks.nightly.start()
    assert CeleryEngine().messages(broker.queue, 10) is None
    assert find_violations() == []
    with broker.connection() as connection:
        assert connection.default_channel.queue_declare(broker.queue, passive=True).message_count == 1


def test_in_memory_too() -> None:
    queue = f"messages_{uuid.uuid4()}"
    assert CeleryEngine().messages(queue, 10) == []
    process = tasks.nightly.using(queue=queue).start()
    assert CeleryEngine().messages(queue, 10) == [(process.task_id, str(process.key))]
    assert CeleryEngine().messages(queue, 10) == [(process.task_id, str(process.key))]


def test_files_that_are_taken_or_written_meanwhile_are_passed_over(broker: Broker) -> None:
    process = tasks.nightly.start()
    folder = workers.Path(broker.options["data_folder_out"])
    (folder / f"1_half.{broker.queue}.msg").write_text('{"body": ')
    (folder / f"2_gone.{broker.queue}.msg").symlink_to(folder / "nowhere")
    assert CeleryEngine().messages(broker.queue, 10) == [(process.task_id, str(process.key))]


def test_a_broker_that_is_down_is_an_error_and_takes_no_time(conf: Any) -> None:
    conf.update(broker_url="redis://127.0.0.1:1//", broker_transport_options={})
    began = time.monotonic()
    with pytest.raises(Exception, match="refused"):
        CeleryEngine().messages("any", 10)
    assert time.monotonic() - began < 3
