"""Several who end, stop, rescue or take the same process at the same moment: exactly one does.

``DJANGO_PROGRESS_ROUNDS`` says how often each race is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from django_progress import claiming, leases
from django_progress.models import Attempt, Process
from django_progress.status import Outcome, Status
from django_progress.sweep import sweep
from tests.executing import claim, fresh, settle, start
from tests.invariants import check_invariants
from tests.races.threads import all_together, together, tried

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ROUNDS = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "50"))


def past() -> datetime:
    return timezone.now() - timedelta(minutes=1)


@pytest.fixture(autouse=True)
def invariants(transactional_db: None) -> Iterator[None]:
    yield
    check_invariants()


def test_the_same_message_taken_by_four() -> None:
    for _ in range(ROUNDS // 5):
        process = start()
        take = partial(claiming.claim, str(process.key), task_id=process.task_id)
        executions = [executing for executing in together(4, lambda number, take=take: take()) if executing]
        assert len(executions) == 1
        assert fresh(process).executions == 1


def test_a_message_taken_as_it_is_cancelled() -> None:
    for _ in range(ROUNDS // 2):
        process = start()
        viewer = fresh(process)

        def work(process: Process = process) -> None:
            executing = claiming.claim(str(process.key), task_id=process.task_id)
            if executing is not None:
                settle(executing, lambda p: p.checkpoint() or p.requeue())

        _, over = all_together(work, viewer.cancel)
        _until_cancelled(process, over)


def test_a_request_to_cancel_is_not_lost_when_the_body_hands_on() -> None:
    for number in range(ROUNDS):
        process = start(max_attempts=3)
        executing = claim(process)
        viewer = fresh(process)

        def body(process: Process, number: int = number) -> None:
            if number % 2:
                raise RuntimeError
            process.requeue()

        _, over = all_together(partial(settle, executing, body), viewer.cancel)
        _until_cancelled(process, over)


def _until_cancelled(process: Process, over: bool) -> None:
    row = fresh(process)
    if over or row.status != Status.RUNNING:
        assert row.status == Status.CANCELLED
    else:
        executing = Attempt.objects.get(process=process, outcome="")
        assert executing.cancel_requested_at is not None


def test_a_cancel_that_came_too_late_is_always_said() -> None:
    """Whoever was told that the task has been asked to stop finds that it had finished."""
    for _ in range(ROUNDS):
        process = start()
        executing = claim(process)
        viewer = fresh(process)
        _, over = all_together(partial(settle, executing, lambda p: None), partial(tried, viewer.cancel))
        row = fresh(process)
        assert row.status == Status.SUCCEEDED
        asked = Attempt.objects.get(process=process).cancel_requested_at is not None
        event = row.event_set.get(type="succeeded")
        assert (event.details == {"cancel_requested": True}) == asked
        assert asked == (over == "done")


def test_a_rescue_and_a_beat() -> None:
    for _ in range(ROUNDS // 2):
        process = start(max_attempts=2)
        executing = claim(process)
        Attempt.objects.filter(process=process).update(lease_until=past(), doubted_at=past())
        all_together(partial(leases.renew, {executing.token: leases.Held(lease=60, beat=10, using="default")}), sweep)
        attempt = Attempt.objects.get(process=process)
        assert (attempt.outcome == Outcome.LOST) == (fresh(process).status == Status.PENDING)


def test_two_sweeps_at_once(engine: Any) -> None:
    """Fault 19: whatever is due is done once."""
    for _ in range(ROUNDS // 10):
        Process.objects.all().delete()
        engine.published.clear()
        pending = [start() for _ in range(5)]
        lost = [start(max_attempts=2) for _ in range(5)]
        for process in lost:
            claim(process)
        Process.objects.filter(status=Status.PENDING).update(due_at=timezone.now() - timedelta(seconds=1))
        Attempt.objects.update(lease_until=past(), doubted_at=past())
        late = [Process.objects.start("x", max_duration=60) for _ in range(5)]
        Process.objects.filter(pk__in=[process.pk for process in late]).update(
            expires_at=timezone.now() - timedelta(seconds=1)
        )
        engine.published.clear()
        together(3, lambda number: sweep())
        sweep()
        assert sorted(engine.published) == sorted(
            [process.task_id for process in pending] + [fresh(process).task_id for process in lost]
        )
        assert {fresh(process).status for process in late} == {Status.EXPIRED}
        assert Attempt.objects.filter(outcome=Outcome.LOST).count() == 5
        check_invariants()
