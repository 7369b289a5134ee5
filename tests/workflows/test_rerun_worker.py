"""Running a workflow again on real workers: what failed, while what executes it is killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from django_progress.models import Process, Step
from django_progress.status import Status
from django_progress.workflows import retry_failed
from tests.invariants import check_invariants
from tests.workers import Broker, run_worker, wait_until
from tests.workflows.tasks import chunks
from tests.workflows.test_workers import WIDTH, all_ended, check, quick

__all__ = ["quick"]

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick")]

BROKEN = 2


def done(journal: Path) -> Counter[str]:
    """Return how often the body of each step began."""
    return Counter(line.split()[3] for line in journal.read_text().splitlines())


def test_only_what_failed_is_executed_again_through_a_kill(broker: Broker, tmp_path: Path) -> None:
    journal, broken = tmp_path / "journal", tmp_path / "broken"
    broken.write_text(str(BROKEN))
    # Long enough that what is killed is still in its body: a child that waits for work holds the lock of the queue.
    given = {"journal": str(journal), "width": WIDTH, "broken": str(broken), "pause": 1.0}
    process = chunks.using(max_attempts=1).start(None, **given)
    with run_worker(broker, concurrency=2, patience=0):
        wait_until(all_ended, timeout=60, what="the failure")
        process.refresh_from_db()
        assert process.status == Status.FAILED
        finished = set(Step.objects.filter(process=process, status="succeeded").values_list("path", flat=True))
        assert "#.check" in finished
        before = done(journal)
        broken.write_text("")
        again = retry_failed(process)
        victim = wait_until(lambda: _executing(journal, before), timeout=60, what="one to kill")
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        wait_until(all_ended, timeout=120, what="the end")
        if Process.objects.get(pk=again.pk).status == Status.FAILED:  # One attempt is all that it was started with.
            again = retry_failed(again)
            wait_until(all_ended, timeout=120, what="the end after the kill")
    check(again)
    since = done(journal) - before
    assert not finished & since.keys(), "what had succeeded was executed again"
    assert since.keys() >= {f"#.load[{BROKEN}]", "#.load.index", "#.report"}
    reused = Step.objects.filter(process=again, is_reused=True)
    assert finished <= set(reused.values_list("path", flat=True))
    check_invariants(settled=True)


def _executing(journal: Path, before: Counter[str]) -> int:
    """Return the process in which a body began since, or 0."""
    lines = journal.read_text().splitlines()[before.total() :]
    return int(lines[-1].split()[2]) if lines else 0
