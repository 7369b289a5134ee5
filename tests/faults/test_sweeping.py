"""Faults 11, 13, 16 and 19: what the sweep makes good, and that it never does too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from django.utils import timezone

from django_progress import claiming
from django_progress.clock import DatabaseNow
from django_progress.models import Attempt, Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests import executing
from tests.faults import tasks
from tests.faults.journal import Journal
from tests.faults.watching import KILLED, ended, messages, outcomes, run_program, sweep_until
from tests.private import private_redis
from tests.races.threads import together
from tests.workers import Broker, open_private_broker, run_worker, wait_until

pytestmark = [
    pytest.mark.worker, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quick"),
]  # fmt: skip

SWEEP = "from django_progress.sweep import sweep; sweep()"


def test_fault_11_killed_before_publishing(broker: Broker, journal: Journal, agree: Callable[..., None]) -> None:
    agree(REPUBLISH_AFTER=0.5)
    program = f"from tests.faults.tasks import work; work.start(None, {str(journal)!r})"
    assert run_program(program, broker, {"DJANGO_PROGRESS_FAILPOINTS": "publish.before=kill"}) == KILLED
    process = Process.objects.get()
    assert (process.status, messages(broker)) == (Status.PENDING, 0)
    journal.open(1)
    with run_worker(broker, pool="solo", patience=0):
        assert ended(process).status == Status.SUCCEEDED
    assert journal.runs == [1]


@pytest.mark.redis
def test_fault_13_broker_emptied(journal: Journal, agree: Callable[..., None]) -> None:
    agree(REPUBLISH_AFTER=2)
    count = 10
    with private_redis() as server, open_private_broker(server) as broker:
        processes = [tasks.work.start(None, f"{journal}-{number}") for number in range(count)]
        assert messages(broker) == count
        server.empty()
        assert messages(broker) == 0
        sweep_until(broker, count)
        agree(REPUBLISH_AFTER=60)
        for number in range(count):
            Journal(f"{journal}-{number}").open(1)
        with run_worker(broker, patience=0):
            for number, process in enumerate(processes):
                assert ended(process).status == Status.SUCCEEDED
                assert Journal(f"{journal}-{number}").runs == [1]


def test_fault_16_retry_due_in_two_hours(broker: Broker, journal: Journal) -> None:
    process = tasks.failing.start(None, str(journal))
    with run_worker(broker, pool="solo", patience=0) as worker:
        wait_until(lambda: worker.output.count("] raised unexpected") == 1, what="the first attempt to fail")
        worker.kill()
        received = worker.output.count("] received")
    process.refresh_from_db()
    assert process.status == Status.PENDING
    assert process.next_attempt_at is not None
    assert 7000 < (process.next_attempt_at - timezone.now()).total_seconds() <= 7200
    # Nothing was sent meanwhile, and a message from elsewhere is too early.
    assert (sweep(), messages(broker), received) == (Counter(), 0, 1)
    assert claiming.claim(str(process.key), task_id=process.task_id) is None
    Process.objects.update(next_attempt_at=DatabaseNow(-1), due_at=DatabaseNow(-1))
    assert sweep() == Counter(published=1)
    assert (sweep(), messages(broker)) == (Counter(), 1)
    with run_worker(broker, pool="solo", patience=0):
        assert ended(process).status == Status.FAILED
    assert journal.runs == [1, 2]


def test_fault_19_sweeps_at_once(broker: Broker) -> None:
    """Each due process is published once, and each dead attempt given up once, however many sweep."""
    pending = [tasks.work.start(None, "nowhere") for _ in range(8)]
    dead = [tasks.work.using(max_attempts=2, retry_delay=7200).start(None, "nowhere") for _ in range(8)]
    for process in dead:
        executing.claim(process)
    before = messages(broker)
    Process.objects.filter(pk__in=[process.pk for process in pending]).update(due_at=DatabaseNow(-1))
    Attempt.objects.update(lease_until=DatabaseNow(-1))

    total: Counter[str] = Counter()

    def settled() -> bool:
        total.update(sum(together(4, lambda number: sweep()), Counter()))
        return not Attempt.objects.executing().exists()

    wait_until(settled, timeout=60, what="all of them to be settled")
    assert total == Counter(published=8, lost=8)
    assert messages(broker) == before + 8
    for process in dead:
        assert executing.types(process) == ["milestone", "attempt", "attempt_lost"]


@pytest.mark.parametrize("point", ["sweep.chosen", "sweep.locked", "end.before_commit"])
def test_fault_19_sweep_killed_while_it_gives_up(broker: Broker, point: str) -> None:
    """All of it or nothing, and then another does it."""
    process = tasks.work.start(None, "nowhere")
    executing.claim(process)
    Attempt.objects.update(lease_until=DatabaseNow(-1))
    # On SQLite it takes two looks, a beat apart.
    twice = f"{SWEEP}; import time; time.sleep(0.5); sweep()"
    assert run_program(twice, broker, {"DJANGO_PROGRESS_FAILPOINTS": f"{point}=kill"}) == KILLED
    assert (Process.objects.get().status, outcomes(process)) == (Status.RUNNING, [""])

    def given_up() -> bool:
        sweep()
        return Process.objects.get().status == Status.FAILED

    wait_until(given_up, what="another sweep to give it up")
    assert outcomes(process) == ["lost"]
    assert executing.types(process) == ["milestone", "attempt", "failed"]


@pytest.mark.parametrize("point", ["sweep.publishing", "publish.before"])
def test_fault_19_sweep_killed_while_it_publishes(broker: Broker, agree: Callable[..., None], point: str) -> None:
    """It has noted that it publishes, and did not: a later one does."""
    agree(REPUBLISH_AFTER=0.2)
    tasks.work.start(None, "nowhere")
    assert messages(broker) == 1
    Process.objects.update(due_at=DatabaseNow(-1))
    assert run_program(SWEEP, broker, {"DJANGO_PROGRESS_FAILPOINTS": f"{point}=kill"}) == KILLED
    assert messages(broker) == 1
    assert Process.objects.get().publish_count == 2
    sweep_until(broker, 2)
