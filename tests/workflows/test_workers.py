"""Workflows on real workers, and on workers that are killed."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from django_progress import engines
from django_progress.models import Attempt, Process, Step
from django_progress.status import Outcome, Status
from django_progress.tasks import CeleryEngine
from tests.invariants import check_invariants
from tests.workers import Broker, run_worker, wait_until
from tests.workflows.tasks import chunks

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

logger = logging.getLogger(__name__)

WIDTH = 6
# For the long run, a hundred of each: then every workflow is hit. --log-cli-level=INFO tells what came of it.
WORKFLOWS = int(os.environ.get("DJANGO_PROGRESS_WORKFLOWS", "4"))
KILLS = int(os.environ.get("DJANGO_PROGRESS_KILLS", "4"))


@pytest.fixture
def quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is lost found at once, here and in the workers."""
    given = {"LEASE": 1.5, "HEARTBEAT": 0.3, "SWEEP_INTERVAL": 0.2, "REPUBLISH_AFTER": 3}
    settings.DJANGO_PROGRESS = given
    monkeypatch.setenv("DJANGO_PROGRESS_TEST_SETTINGS", json.dumps(given))
    engines.register(CeleryEngine())


def check(process: Process) -> None:
    row = Process.objects.get(pk=process.pk)
    assert (row.status, row.error_detail) == (Status.SUCCEEDED, "")
    assert row.result == {"sum": WIDTH * (WIDTH - 1), "parts": WIDTH}
    assert row.percent == 100


def all_ended() -> bool:
    return not Process.objects.active().exists()


@pytest.mark.usefixtures("quick")
def test_on_a_real_worker(broker: Broker, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    process = chunks.start(None, journal=str(journal), width=WIDTH)
    with run_worker(broker, patience=0):
        wait_until(all_ended, timeout=60, what="the end")
    check(process)
    paths = [line.split()[3] for line in journal.read_text().splitlines()]
    parts = [f"#.load[{number}]" for number in range(WIDTH)]
    assert (paths[0], sorted(paths[1:-2]), paths[-2:]) == ("#.check", parts, ["#.load.index", "#.report"])
    check_invariants(settled=True, broker=True, margin=10)


@pytest.mark.usefixtures("quick")
def test_killed_in_the_middle(broker: Broker, tmp_path: Path) -> None:
    """kill -9 of what executes, again and again: every workflow ends right, and each step has one effect."""
    journal = tmp_path / "journal"
    started = [chunks.start(None, journal=str(journal), width=WIDTH, pause=0.3) for _ in range(WORKFLOWS)]
    killed: dict[tuple[int, int], int] = {}
    with run_worker(broker, concurrency=2, patience=0):
        while len(killed) < KILLS:
            victims = wait_until(lambda: _executing(journal, killed) or all_ended(), timeout=60, what="one to kill")
            if victims is True:
                break
            # One of a workflow that was not hit before, if there is any.
            execution = min(victims, key=lambda one: list(killed.values()).count(victims[one].workflow))
            with suppress(ProcessLookupError):
                os.kill(victims[execution].pid, signal.SIGKILL)
            killed[execution] = victims[execution].workflow
            over = Attempt.objects.filter(process=execution[0], number=execution[1]).exclude(outcome="")
            wait_until(over.exists, timeout=60, what="what was killed to be noticed")
        wait_until(all_ended, timeout=240 + 10 * WORKFLOWS, what="all to end")
    for process in started:
        check(process)
    lost = Attempt.objects.filter(outcome=Outcome.LOST).count()
    assert lost
    # Begun more than once is what was killed; succeeded has each of them once.
    steps = Counter(Step.objects.values_list("process_id", flat=True))
    assert steps == {process.pk: WIDTH + 4 for process in started}
    assert set(Step.objects.values_list("status", flat=True)) == {"succeeded"}
    succeeded = Counter(Attempt.objects.filter(outcome=Outcome.SUCCEEDED).values_list("process_id", flat=True))
    assert set(succeeded.values()) == {1}
    check_invariants(settled=True)
    logger.info(
        "Killed: %d executions, in %d of %d workflows. Found: %d attempts lost; %d workflows and %d steps ended right.",
        len(killed), len(set(killed.values())), len(started), lost, len(steps), sum(steps.values()),
    )  # fmt: skip


@pytest.mark.parametrize(
    "point", ["end.before_commit", "end.committed", "body.returned", "claim.done", "publish.before"]
)
@pytest.mark.usefixtures("quick")
def test_killed_at(point: str, broker: Broker, tmp_path: Path) -> None:
    """kill -9 once, in the middle of what a step's end does: nothing is lost, and nothing done twice."""
    journal = tmp_path / "journal"
    process = chunks.start(None, journal=str(journal), width=2)
    with run_worker(
        broker, concurrency=1, patience=0, env={"DJANGO_PROGRESS_FAILPOINTS": f"{point}=kill@{tmp_path / 'once'}"}
    ):
        wait_until(all_ended, timeout=90, what="the end")
    assert (tmp_path / "once").exists()
    row = Process.objects.get(pk=process.pk)
    assert (row.status, row.result) == (Status.SUCCEEDED, {"sum": 2, "parts": 2})
    assert Step.objects.filter(process=process).count() == 6
    check_invariants(settled=True)


class Victim(NamedTuple):
    """Where something executes: in which process of the system, and for which workflow."""

    pid: int
    workflow: int


def _executing(journal: Path, killed: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Victim]:
    """Return what executes, by what the bodies noted and by what the database knows."""
    noted = [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []
    begun = {(int(pk), int(number)): int(pid) for pk, number, pid, _path in noted}
    known = Attempt.objects.executing().filter(process__attempt_number__lte=3)
    found = known.values_list("process_id", "number", "process__parent")
    return {
        (pk, number): Victim(begun[pk, number], workflow)
        for pk, number, workflow in found
        if (pk, number) in begun and (pk, number) not in killed
    }
