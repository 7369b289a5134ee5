"""Thousands of parallel tasks on a real worker: a workflow's, and a group of Celery's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from celery import group
from django.db import connection
from django_celery_results.models import TaskResult

from benchmarks.many.tasks import nothing, together
from django_progress.models import Process
from tests.celery import app
from tests.workers import Broker, Worker, run_worker

__all__ = ["Taken", "celery_group", "worker", "workflow"]

SETTINGS = "benchmarks.many.settings"
POOL = 2
PATIENCE = 3600.0
"""Seconds after which a run that has not ended is given up."""


@dataclass
class Taken:
    """How long a run took, in seconds."""

    total: float
    planned: float
    """Until all parts stood in the database, or all messages were sent."""
    busy: float
    """Of the worker, on a processor. A machine that does other things too leaves that about as it is."""


@contextmanager
def worker(broker: Broker, *, results: bool) -> Iterator[Worker]:
    """Run a worker that keeps the results of tasks, or doesn't."""
    env = {"DJANGO_SETTINGS_MODULE": SETTINGS, "BENCHMARK_IGNORE_RESULT": "" if results else "1"}
    with run_worker(broker, concurrency=POOL, env=env) as running:
        yield running


def workflow(parts: int, running: Worker) -> tuple[Taken, Process]:
    """Execute a workflow with so many parallel parts."""
    begin, before = time.perf_counter(), _busy(running)
    process = together.start(None, parts=parts)
    steps = process.steps.filter(parent_path="#.part")
    wait_for(steps.exists)
    planned = time.perf_counter() - begin
    wait_for(lambda: not Process.objects.active().filter(pk=process.pk).exists())
    return Taken(time.perf_counter() - begin, planned, _busy(running) - before), process


def celery_group(size: int, running: Worker, *, results: bool) -> Taken:
    """Execute so many tasks as a group of Celery's, from the moment at which it is sent."""
    TaskResult.objects.all().delete()
    begin, before = time.perf_counter(), _busy(running)
    # The sender has to be told too: it is who says in the message whether a result is to be kept.
    group(nothing.s(number).set(ignore_result=not results) for number in range(size)).apply_async()
    sent = time.perf_counter() - begin
    if results:
        wait_for(lambda: TaskResult.objects.filter(status="SUCCESS").count() >= size)
    else:
        wait_for(lambda: _executed(running) >= size)
    return Taken(time.perf_counter() - begin, sent, _busy(running) - before)


def _busy(running: Worker) -> float:
    """Return how many seconds a worker and its pool have been on a processor (Linux only)."""
    ticks = 0
    for pid in (running.pid, *running.children):
        # After the name, which may hold spaces: the state is field 3, the two times are 14 and 15.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _executed(running: Worker) -> int:
    """Return how many tasks a worker has finished."""
    asked = app.control.inspect(destination=[running.name], timeout=5.0)
    stats = (asked.stats() or {}).get(running.name)
    waiting = [(part() or {}).get(running.name) for part in (asked.active, asked.reserved)]
    if stats is None or None in waiting:
        return 0
    return sum(stats["total"].values()) - sum(map(len, waiting))


def wait_for(condition: Callable[[], object]) -> None:
    """Look ten times a second, and let the database rest in between."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"Nothing came of it in {PATIENCE:g} s.")
        time.sleep(0.1)
    connection.close()
