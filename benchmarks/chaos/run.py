"""One run: start, harm, wait until all is over, judge."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import call_command
from django.db import DatabaseError, connections

from benchmarks.chaos import judging, tasks
from benchmarks.chaos.journal import VARIABLE, Journal
from benchmarks.chaos.plan import QUICK, Dose, Planned, make_plan
from benchmarks.chaos.violence import CHILDREN, WORKERS, Wrecker, steady
from django_progress.exceptions import ProcessFinished
from django_progress.models import Process
from django_progress.sweep import sweep
from tests.private import MariaDB, Postgres, RabbitMQ, Redis
from tests.workers import Broker

__all__ = ["Report", "run"]

BACKLOG = 4 * WORKERS * CHILDREN
"""So many may be unfinished when something is to be harmed: enough to be hit, not so many that most only wait."""
LONGEST_WAIT = 180.0
"""Seconds in which something must change, when all is started and nothing is harmed any more."""


@dataclass
class Report:
    """What was done, and what was found."""

    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    recoveries: list[judging.Recovery] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Run:
    """Executes a plan."""

    def __init__(self, dose: Dose, seed: int, wrecker: Wrecker) -> None:
        self.plan = make_plan(dose, random.Random(seed))
        self.seed = seed
        self.wrecker = wrecker
        self.started: dict[int, Process] = {}
        self.cancelled: list[str] = []
        self.longest: dict[str, float] = {"start": 0.0, "cancel": 0.0}

    def execute(self) -> None:
        """Do all that is planned, then wait for what was started."""
        for planned in self.plan:
            if planned.do == "start":
                with self._timed("start"):
                    self.started[planned.number] = steady(lambda planned=planned: self._start(planned))
            elif planned.do == "cancel":
                with self._timed("cancel"):
                    self._cancel(self.started[planned.number])
            else:
                self._wait_for(lambda: self._active() <= BACKLOG)
                self.wrecker.replace_workers()
                self.wrecker.strike(planned.do)
        self._wait_for(lambda: not self._active())

    def _start(self, planned: Planned) -> Process:
        # The connection may be lost after the commit: the key finds what was started then.
        key = f"chaos {self.seed} {planned.number}"
        if planned.kind == "quiet":
            return Process.objects.start("Quiet", kind="quiet", max_duration=2, idempotency_key=key)
        task = getattr(tasks, planned.kind)
        return task.using(idempotency_key=key).start(None, planned.seconds)

    def _cancel(self, process: Process) -> None:
        with suppress(ProcessFinished):
            if steady(process.cancel):
                self.cancelled.append(str(process.key))

    @contextmanager
    def _timed(self, verb: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.longest[verb] = max(self.longest[verb], time.monotonic() - begin)

    @staticmethod
    def _active() -> int:
        return steady(lambda: Process.objects.active().count())

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for as long as anything changes."""
        last: object = None
        changed_at = time.monotonic()
        while not condition():
            self.wrecker.replace_workers()
            now = steady(lambda: list(Process.objects.order_by("status").values_list("status", "executions")))
            if now != last:
                last, changed_at = now, time.monotonic()
            if time.monotonic() - changed_at > LONGEST_WAIT:
                return
            time.sleep(0.1)


@contextmanager
def one_that_sweeps() -> Iterator[None]:
    """Sweep from here too: what is promised presumes somebody who does, and a broker's restart may end all workers."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(QUICK["SWEEP_INTERVAL"]):
            try:
                sweep()
            except DatabaseError:
                connections.close_all()  # That was terminated.
        connections.close_all()

    thread = threading.Thread(target=run, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def run(
    dose: Dose,
    *,
    seed: int,
    folder: Path,
    broker: Broker,
    broker_server: Redis | RabbitMQ | None,
    database: Postgres | MariaDB | None,
) -> Report:
    """Run on the database that Django uses, and return what was found.

    ``broker`` is where this process publishes; ``broker_server`` and ``database`` are the servers to be harmed, if
    there are any. The app's settings here must be ``QUICK``.
    """
    journal = Journal(folder / "journal")
    env = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.chaos.settings",
        "DJANGO_PROGRESS_TEST_SETTINGS": json.dumps(QUICK),
        VARIABLE: str(journal.path),
    }
    wrecker = Wrecker(
        broker=broker, broker_server=broker_server, database=database, journal=journal,
        chance=random.Random(seed + 1), env=env, lease=QUICK["LEASE"],
    )  # fmt: skip
    begin = time.monotonic()
    with wrecker.at_work(), one_that_sweeps():
        ours = Run(dose, seed, wrecker)
        ours.execute()
        report = Report(done=wrecker.done)
        notes = journal.read()
        # For whoever wants to know how it came to what was found.
        (folder / "workers.log").write_text(wrecker.output)
        (folder / "hits.json").write_text(json.dumps(wrecker.hits))
        call_command("dumpdata", "django_progress", output=str(folder / "rows.json"), verbosity=0)
        started = {process.pk: process.kind for process in ours.started.values()}
        found = {
            "violations": list(judging.violations(notes, started, ours.cancelled)),
            "stuck": list(judging.stuck()),
            "done twice": list(judging.doubles(notes)),
            "given up alive": list(judging.rescued(wrecker.hits, wrecker.harmed)),
        }
    took = time.monotonic() - begin
    report.lines.append(f"{len(ours.started)} processes, {len(notes)} notes, {took:.0f} s, seed {seed}")
    report.lines += [f"  {count:5} {what.replace('_', ' ')}" for what, count in sorted(wrecker.done.items())]
    report.lines += [
        f"  {count:5} {what.replace('_', ' ')}: nothing to do it to" for what, count in wrecker.impossible.items()
    ]
    for kind, ends in judging.statuses().items():
        report.lines.append(f"  {kind:13}" + ", ".join(f"{count} {status}" for status, count in ends.items()))
    report.recoveries = judging.recoveries(wrecker.hits, notes)
    report.lines.append("  " + judging.describe(report.recoveries, QUICK["LEASE"]))
    longest = ", ".join(f"{verb}() {seconds:.1f} s" for verb, seconds in ours.longest.items())
    report.lines.append(f"  the longest that a caller waited: {longest}")
    for what, texts in found.items():
        report.lines.append(f"{len(texts)} {what}")
        report.lines += [f"  {text}" for text in texts[:50]]
        report.wrong += texts
    return report
