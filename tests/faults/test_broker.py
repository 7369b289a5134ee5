"""Faults 9, 10 and 14: a broker that is down, that hangs, that goes away."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress import publishing
from django_progress.models import Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests.faults import tasks
from tests.faults.journal import Journal
from tests.faults.watching import at_most, ended, messages, outcomes, sweep_until, wait_for_beat
from tests.private import RabbitMQ, Redis, SilentPort, private_rabbitmq, private_redis, refused_port
from tests.workers import Broker, open_private_broker, published_to, run_worker, wait_until

pytestmark = [
    pytest.mark.worker, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick"),
]  # fmt: skip

# What the app promises to a request, whatever the broker does.
BOUND = 2


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """One for all: it takes its time to start."""
    with private_rabbitmq() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Redis]:
    with private_redis() as server:
        yield server


def start_and_look(client: Client) -> Process:
    """Start by a request and follow it to the wait page, as a browser does."""
    client.force_login(User.objects.create_user("ann"))
    client.get("/parcels/")  # What only the first request costs doesn't count.
    with at_most(BOUND):
        started = client.post("/flights/search/", {"query": "direct"})
    assert started.status_code == 303
    with at_most(BOUND):
        page = client.get(started["Location"])
    process = Process.objects.get()
    assert process.status == Status.PENDING
    assert "Waiting to begin" in page.content.decode()
    return process


@pytest.mark.parametrize("scheme", [pytest.param("redis", marks=pytest.mark.redis), "amqp"])
@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_fault_09_broker_down_at_start(
    broker: Broker, client: Client, agree: Callable[..., None], scheme: str, fault: str
) -> None:
    agree(REPUBLISH_AFTER=0.2)
    with ExitStack() as stack:
        port = refused_port() if fault == "refused" else stack.enter_context(SilentPort()).port
        stack.enter_context(published_to(Broker(f"{scheme}://127.0.0.1:{port}//", broker.queue)))
        start_and_look(client)
    # With a broker that answers again (another one, here), the sweep sends what was not.
    assert messages(broker) == 0
    sweep_until(broker, 1)


@pytest.mark.redis
def test_fault_09_down_and_up_again(redis: Redis, client: Client, agree: Callable[..., None]) -> None:
    """The worker, too, is started while its broker is down."""
    agree(REPUBLISH_AFTER=1)
    redis.stop()
    with open_private_broker(redis) as broker, run_worker(broker, pool="solo", ready="Cannot connect to", patience=0):
        process = start_and_look(client)
        redis.start()
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["succeeded"]


def test_fault_09_asked_again_after_a_while(
    broker: Broker, agree: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the program that found it down, too."""
    agree(REPUBLISH_AFTER=0.1)
    monkeypatch.setattr(publishing, "PAUSE", 0.5)
    with published_to(Broker(f"amqp://127.0.0.1:{refused_port()}//", broker.queue)):
        tasks.work.start(None, "nowhere")
    wait_until(lambda: sweep()["published"], timeout=60, what="the sweep to publish")
    assert messages(broker) == 1


@pytest.mark.urls("tests.faults.urls")
def test_fault_09_twenty_starts_in_one_request(client: Client) -> None:
    with SilentPort() as silent, published_to(Broker(f"redis://127.0.0.1:{silent.port}/0", "silent")):
        start_twenty(client)


@pytest.mark.rabbitmq
@pytest.mark.urls("tests.faults.urls")
def test_fault_10_twenty_starts_in_one_request(rabbitmq: RabbitMQ, client: Client) -> None:
    with open_private_broker(rabbitmq):
        tasks.work.start(None, "nowhere").delete()
        with out_of_memory(rabbitmq):
            start_twenty(client)


def start_twenty(client: Client) -> None:
    client.get("/parcels/")
    with at_most(2 * BOUND):
        assert client.post("/twenty/").status_code == 303
    assert list(Process.objects.values_list("status", flat=True)) == [Status.PENDING] * 20


@contextmanager
def paused(redis: Redis) -> Iterator[None]:
    """It takes commands and answers none, for longer than a request may take."""
    from redis import Redis as Client

    with Client.from_url(redis.url) as client:
        client.execute_command("CLIENT", "PAUSE", 2000 * BOUND, "ALL")
    yield


@contextmanager
def frozen(server: Redis | RabbitMQ) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def out_of_memory(rabbitmq: RabbitMQ) -> Iterator[None]:
    """Let it stop reading from whoever publishes."""
    rabbitmq.run("rabbitmqctl", "set_vm_memory_high_watermark", "absolute", "1")
    try:
        yield
    finally:
        rabbitmq.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.9")


@pytest.mark.redis
@pytest.mark.parametrize("fault", [paused, frozen])
def test_fault_10_redis_hangs(
    redis: Redis, client: Client, agree: Callable[..., None], fault: Callable[..., Any]
) -> None:
    agree(REPUBLISH_AFTER=0.2)
    with open_private_broker(redis) as broker:
        with fault(redis):
            start_and_look(client)
        # What it was told meanwhile it may do now; one message more is harmless.
        sweep_until(broker, at_least=1)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("fault", [out_of_memory, frozen])
def test_fault_10_rabbitmq_hangs(
    rabbitmq: RabbitMQ, client: Client, agree: Callable[..., None], fault: Callable[..., Any]
) -> None:
    agree(REPUBLISH_AFTER=0.2)
    with open_private_broker(rabbitmq) as broker:
        # It knows the queue, as a project's broker does.
        tasks.work.start(None, "nowhere").delete()
        assert messages(broker) == 1
        with fault(rabbitmq):
            start_and_look(client)
        sweep_until(broker, at_least=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("redis", {"socket_timeout": 1, "socket_connect_timeout": 1}, marks=pytest.mark.redis),
        pytest.param("rabbitmq", {"read_timeout": 1, "write_timeout": 1}, marks=pytest.mark.rabbitmq),
    ],
)
def test_fault_10_worker_of_a_frozen_broker_ends(
    request: pytest.FixtureRequest, name: str, options: dict[str, int]
) -> None:
    """By limits shorter than those that workers are given; without any, Celery's own goodbye waits for ever."""
    server = request.getfixturevalue(name)
    with run_worker(Broker(server.url, "frozen", options), concurrency=1) as worker, frozen(server):
        worker.send(signal.SIGTERM)
        wait_until(lambda: not worker.is_alive(), timeout=40, what="the worker to end")


@pytest.mark.redis
def test_fault_14_redis_restarted_mid_task(redis: Redis, journal: Journal) -> None:
    with open_private_broker(redis) as broker, run_worker(broker, patience=0) as worker:
        process = tasks.work_late.start(None, str(journal))
        journal.wait_for_run(1)
        redis.restart()
        worker.wait_for_output("Connection to broker lost")
        # The lease needs no broker.
        wait_for_beat(process)
        journal.open(1)
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["succeeded"]
    assert journal.runs == [1]


@pytest.mark.rabbitmq
def test_fault_14_rabbitmq_closes_the_connection_mid_task(rabbitmq: RabbitMQ, journal: Journal) -> None:
    """It takes the message for unhandled and hands it to the same worker, which comes back while it still works."""
    with open_private_broker(rabbitmq) as broker, run_worker(broker, patience=0) as worker:
        process = tasks.work_late.start(None, str(journal))
        journal.wait_for_run(1)
        rabbitmq.run("rabbitmqctl", "close_all_connections", "for a test")
        wait_until(lambda: worker.output.count("] received") == 2, timeout=60, what="the message to come again")
        wait_until(lambda: worker.output.count("] ignored") == 1, what="the second to leave")
        journal.open(1)
        assert ended(process).status == Status.SUCCEEDED
    assert outcomes(process) == ["succeeded"]
    assert journal.runs == [1]
