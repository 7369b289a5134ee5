"""The workers, and what is done to them, to the broker and to the database."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from django.db import InterfaceError, OperationalError, connections

from benchmarks.chaos.journal import Journal
from django_progress.models import Attempt
from tests.private import MariaDB, Postgres, RabbitMQ, Redis
from tests.workers import Broker, Worker, run_worker, wait_until

__all__ = ["Hit", "Wrecker", "steady"]

R = TypeVar("R")

WORKERS, CHILDREN = 3, 3


def steady(call: Callable[[], R], *, patience: float = 60) -> R:
    """Call again, on a new connection, what failed because the connection was terminated."""
    end = time.monotonic() + patience
    while True:
        try:
            return call()
        except (InterfaceError, OperationalError):
            if time.monotonic() > end:
                raise
            connections.close_all()


class Hit(NamedTuple):
    """An execution that was killed."""

    process: int
    execution: int
    at: float
    """By the machine's monotonic clock, and by the calendar."""
    happened_at: float


class Wrecker:
    """Keeps as many workers as there should be, and harms them."""

    def __init__(
        self,
        *,
        broker: Broker,
        broker_server: Redis | RabbitMQ | None,
        database: Postgres | MariaDB | None,
        journal: Journal,
        chance: random.Random,
        env: Mapping[str, str],
        lease: float,
    ) -> None:
        self.broker, self.broker_server, self.database = broker, broker_server, database
        self.journal, self.chance, self.env, self.lease = journal, chance, env, lease
        self.done: Counter[str] = Counter()
        self.impossible: Counter[str] = Counter()
        self.hits: list[Hit] = []
        self.harmed: set[str] = set()
        self._workers: dict[Worker, AbstractContextManager[Worker]] = {}
        self._frozen: tuple[Worker, threading.Timer] | None = None
        self._logs: dict[str, str] = {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have workers for the length of the block."""
        try:
            self.replace_workers()
            for worker in self._workers:
                worker.wait_for_output(" ready.", timeout=120)
            yield
        except BaseException as error:
            for worker in self._workers:
                error.add_note(f"The log of {worker.name} ends with:\n{worker.output[-2000:]}")
            raise
        finally:
            for worker in list(self._workers):
                self._bury(worker)

    @property
    def output(self) -> str:
        """All that the workers have said."""
        return "\n".join([*self._logs.values(), *(worker.output for worker in self._workers)])

    # Workers

    def replace_workers(self) -> None:
        """Start as many as are missing; they get ready while others are being harmed."""
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                # Celery gives up when Redis goes away in the wrong moment; whoever runs it starts it again.
                self.done["(ended by itself)"] += 1
                self.harmed.add(worker.name)
                self._bury(worker)
        while len(self._workers) < WORKERS:
            context = run_worker(self.broker, concurrency=CHILDREN, env=self.env, ready="", patience=0)
            self._workers[context.__enter__()] = context

    def _bury(self, worker: Worker) -> None:
        worker.kill()
        self._logs[worker.name] = worker.output
        self._workers.pop(worker).__exit__(None, None, None)

    def _executing(self) -> dict[str, list[tuple[int, int]]]:
        """Return what executes in each worker."""
        found: dict[str, list[tuple[int, int]]] = {}
        rows = Attempt.objects.executing().order_by("pk").values_list("worker", "process_id", "number")
        for name, process, execution in steady(lambda: list(rows)):
            found.setdefault(name, []).append((process, execution))
        return found

    def _busy(self) -> list[Worker]:
        executing = self._executing()
        frozen = self._frozen[0] if self._frozen and self._frozen[1].is_alive() else None
        return [worker for worker in self._workers if worker.name in executing and worker is not frozen]

    def _victim(self) -> Worker:
        return self.chance.choice(wait_until(self._busy, timeout=60, what="a worker that executes something"))

    def kill_worker(self) -> None:
        """Kill a worker and its pool."""
        worker = self._victim()
        # It can't begin or end anything any more while we look.
        worker.send(signal.SIGSTOP, group=True)
        struck = self._executing().get(worker.name, [])
        worker.send(signal.SIGKILL, group=True)
        self._note(struck)
        self.harmed.add(worker.name)
        self._bury(worker)
        self.replace_workers()

    def kill_child(self) -> None:
        """Kill one process of a pool while it executes something."""

        def kill() -> bool:
            begun = {(note.process, note.execution): note.pid for note in self.journal.read() if note.what == "begun"}
            executing = self._executing()
            for worker in self._busy():
                for one in executing.get(worker.name, []):
                    if begun.get(one) in worker.children:
                        return strike(worker, one, begun[one])
            return False

        def strike(worker: Worker, one: tuple[int, int], pid: int) -> bool:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                if one not in self._executing().get(worker.name, []):
                    os.kill(pid, signal.SIGCONT)
                    return False
                os.kill(pid, signal.SIGKILL)
                self._note([one])
                return True
            return False

        wait_until(kill, timeout=60, what="a child that executes something")

    def freeze_worker(self) -> None:
        """Stop a worker and its pool until their leases have run out."""
        if self._frozen:
            self._frozen[1].join()
        worker = self._victim()
        # By itself: what we do next may have to wait for a row that the frozen worker holds.
        timer = threading.Timer(1.5 * self.lease, worker.send, (signal.SIGCONT,), {"group": True})
        timer.daemon = True
        worker.send(signal.SIGSTOP, group=True)
        timer.start()
        self._frozen = (worker, timer)
        self.harmed.add(worker.name)

    def _note(self, struck: list[tuple[int, int]]) -> None:
        self.hits += [Hit(*one, time.monotonic(), time.time()) for one in struck]

    # What they stand on

    def restart_broker(self) -> bool:
        """Stop the broker and start it again, with what it has saved."""
        if self.broker_server is None:
            return False
        self.broker_server.restart()
        return True

    def empty_broker(self) -> None:
        """Make the broker forget all messages."""
        if self.broker_server is not None:
            self.broker_server.empty()
        else:
            for message in Path(str(self.broker.options["data_folder_in"])).iterdir():
                message.unlink(missing_ok=True)

    def terminate_connection(self) -> bool:
        """End a session with the database, anybody's."""
        if self.database is None:
            return False
        return bool(wait_until(lambda: self.database.terminate_connections(1), timeout=60, what="a connection"))

    def strike(self, violence: str) -> None:
        """Do one thing, and count it."""
        happened: Any = getattr(self, violence)()
        (self.impossible if happened is False else self.done)[violence] += 1
