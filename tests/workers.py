"""Real Celery workers, in processes of their own, against the tests' database.

    @pytest.mark.worker
    @pytest.mark.django_db(transaction=True)
    def test_something(broker):
        with run_worker(broker) as worker:
            ...

A worker sees only what is committed, hence ``transaction=True``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from kombu import Connection, Exchange, Queue

from tests import databases, services
from tests.celery import app
from tests.private import RabbitMQ, Redis
from tests.server import launch

ROOT = Path(__file__).resolve().parent.parent

BROKERS = [
    "filesystem",
    pytest.param("redis", marks=pytest.mark.redis),
    pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
]

_numbers = count(1)


def wait_until(condition: Callable[[], Any], *, timeout: float = 20, what: str = "it") -> Any:
    """Return the first true value of ``condition``, asked every 20 ms; fail after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"Waited {timeout:g} s for {what}, in vain.")
        time.sleep(0.02)
    return value


# Brokers


@dataclass(frozen=True)
class Broker:
    """Where messages go, and how a worker is told so."""

    url: str
    queue: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "DJANGO_PROGRESS_TEST_BROKER": self.url,
            "DJANGO_PROGRESS_TEST_BROKER_OPTIONS": json.dumps(dict(self.options)),
            "DJANGO_PROGRESS_TEST_QUEUE": self.queue,
        }

    def connection(self) -> Connection:
        return Connection(self.url, transport_options=dict(self.options), connect_timeout=services.PATIENCE)


@contextmanager
def open_broker(name: str, folder: Path) -> Iterator[Broker]:
    """Publish from this process to a broker of that name, and leave nothing behind on it."""
    if name != "filesystem":
        services.require(name)
    make, clean = {
        "filesystem": (_filesystem, _leave),
        "redis": (_redis, _forget_keys),
        "rabbitmq": (_rabbitmq, _delete_queue),
    }[name]
    broker = make(folder)
    try:
        with published_to(broker):
            yield broker
    finally:
        clean(broker)


def _filesystem(folder: Path) -> Broker:
    options: dict[str, Any] = {"polling_interval": 0.1}
    for name in ("messages", "control"):
        (folder / name).mkdir()
    options["data_folder_in"] = options["data_folder_out"] = str(folder / "messages")
    options["control_folder"] = str(folder / "control")
    return Broker("filesystem://", settings.RUN, options)


def _redis(folder: Path) -> Broker:
    # Everything under a prefix, so that other programs and other runs may use the same server.
    return Broker(services.REDIS_URL, settings.RUN, {"global_keyprefix": f"{settings.RUN}_{next(_numbers)}:"})


def _rabbitmq(folder: Path) -> Broker:
    return Broker(services.RABBITMQ_URL, f"{settings.RUN}_{next(_numbers)}")


def _leave(broker: Broker) -> None:
    """The folder is pytest's, which deletes it."""


def _forget_keys(broker: Broker) -> None:
    import redis

    with redis.Redis.from_url(broker.url) as client:
        for key in client.scan_iter(match=f"{broker.options['global_keyprefix']}*"):
            client.delete(key)


def _delete_queue(broker: Broker) -> None:
    with broker.connection() as connection:
        channel = connection.default_channel
        Queue(broker.queue, channel=channel).delete()
        Exchange(broker.queue, channel=channel).delete()


@contextmanager
def open_private_broker(server: Redis | RabbitMQ) -> Iterator[Broker]:
    """Publish from this process to a server of tests/private.py; what is left there goes with it."""
    broker = Broker(server.url, f"{settings.RUN}_{next(_numbers)}")
    with published_to(broker):
        yield broker


@contextmanager
def published_to(broker: Broker) -> Iterator[None]:
    """Publish from this process to ``broker``, whether or not anything answers there."""
    names = ("broker_url", "broker_transport_options", "task_default_queue")
    before = {name: getattr(app.conf, name) for name in names}
    app.conf.update(dict(zip(names, (broker.url, dict(broker.options), broker.queue), strict=True)))
    _forget_connections()
    try:
        yield
    finally:
        _forget_connections()
        app.conf.update(before)


def _forget_connections() -> None:
    if app._pool is not None:
        app._pool.force_close_all()
        app._pool = None
    # Holds the producers, the queues and the default exchange, all made from the settings.
    app.__dict__.pop("amqp", None)
    app.__dict__.pop("control", None)


# Workers


def environ(broker: Broker | None = None) -> dict[str, str]:
    """Return the environment for a program that is to use the tests' database, and ``broker``."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        **databases.environ(),
        **(broker.environ if broker else {}),
    }


class Worker:
    """A ``celery worker`` that leads a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, name: str) -> None:
        self.process = process
        self.log = log
        self.name = name

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def children(self) -> list[int]:
        """The ids of the pool's processes (Linux only)."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the worker, or to its pool as well."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def is_alive(self) -> bool:
        """Tell whether anything of the process group is left."""
        self.process.poll()
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait_for_output(self, text: str, *, timeout: float = 20) -> None:
        def found() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"The worker ended with {self.process.returncode} before it said {text!r}.")
            return text in self.output

        wait_until(found, timeout=timeout, what=f"the worker to say {text!r}")

    def stop(self, *, patience: float = 10) -> None:
        """Ask it to end, then kill whatever is left of it after ``patience`` seconds."""
        if patience:
            self.send(signal.SIGTERM)
            # One that a test has stopped takes the signal only when it goes on.
            self.send(signal.SIGCONT, group=True)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        self.kill()

    def kill(self) -> None:
        """Kill it and its pool at once."""
        self.send(signal.SIGKILL, group=True)
        self.process.wait()


@contextmanager
def run_worker(
    broker: Broker,
    *,
    pool: str = "prefork",
    concurrency: int = 2,
    queues: str | None = None,
    env: Mapping[str, str] | None = None,
    ready: str = " ready.",
    patience: float = 10,
) -> Iterator[Worker]:
    """Run a worker for the length of the block; whatever fails in it shows the end of the worker's log.

    ``ready`` is what its log says once it consumes; it is empty for a worker that isn't waited for.
    Celery takes some 5 s to end by itself; a test that has seen enough saves them with ``patience=0``.
    """
    name = f"{settings.RUN}_{next(_numbers)}@localhost"
    command = [
        *(sys.executable, "-m", "celery", "-A", "tests.celery", "worker"),
        *("--pool", pool, "--concurrency", str(concurrency), "--queues", queues or broker.queue),
        *("--hostname", name, "--loglevel", "INFO"),
        # Other workers on the same server are none of its business.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]
    with tempfile.TemporaryDirectory(prefix="django_progress_worker_") as folder:
        log = Path(folder, "log")
        with log.open("wb") as file:
            process = launch(command, cwd=ROOT, env={**environ(broker), **(env or {})}, log=file)
        worker = Worker(process, log, name)
        try:
            if ready:
                worker.wait_for_output(ready, timeout=60)
            yield worker
        except BaseException as error:
            error.add_note(f"The worker's log ends with:\n{worker.output[-8000:]}")
            raise
        finally:
            worker.stop(patience=patience)
