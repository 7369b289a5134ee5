"""Several who end, stop, rescue or take the same process at the same moment: exactly one does.

``DJANGO_PROGRESS_ROUNDS`` says how often each race is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from django_progress import dispatch, leases
from django_progress.clock import DatabaseNow
from django_progress.exceptions import ProcessFinished, ProcessStopped
from django_progress.models import Attempt, Process
from django_progress.status import TERMINAL, Outcome, Status
from django_progress.sweep import sweep
from tests.executing import claim, fresh, inside, settle, start, types
from tests.invariants import check_invariants
from tests.races.threads import all_together, together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ROUNDS = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "50"))


@pytest.fixture(autouse=True)
def invariants(transactional_db: None) -> Iterator[None]:
    yield
    check_invariants()


def tried(function: Callable[[], Any]) -> str:
    """Call it, and return how that went."""
    try:
        function()
    except ProcessFinished:
        return "too late"
    except ProcessStopped as stop:
        return type(stop).__name__
    return "done"


def test_four_finishers_and_one_winner() -> None:
    """Fault 23."""
    for _ in range(ROUNDS // 5):
        process = Process.objects.start("x")
        rows = [fresh(process) for _ in range(4)]
        verbs = [rows[0].succeed, partial(rows[1].fail, "x"), rows[2].expire, partial(rows[3].succeed, 2)]
        results = all_together(*[partial(tried, verb) for verb in verbs])
        assert sorted(results) == ["done", "too late", "too late", "too late"]
        winner = (Status.SUCCEEDED, Status.FAILED, Status.EXPIRED, Status.SUCCEEDED)[results.index("done")]
        assert fresh(process).status == winner


def test_success_cancel_expiry_and_rescue_at_once() -> None:
    """Fault 24: one of them ends it, and the redirect fits."""
    urls = {status: f"/{status.value}/" for status in TERMINAL}
    seen = set()
    for number in range(ROUNDS):
        process = start(
            max_duration=60, success_url="/succeeded/", failure_url="/failed/", expired_url="/expired/",
            cancelled_url="/cancelled/",
        )  # fmt: skip
        executing = claim(process)
        viewer = fresh(process)
        # By turns the lease, the deadline or both have just run out.
        if number % 3:
            Attempt.objects.filter(process=process).update(lease_until=DatabaseNow())
        if number % 2:
            Process.objects.filter(pk=process.pk).update(expires_at=DatabaseNow(0.003))
        all_together(
            partial(settle, executing, lambda p: "result"),
            partial(tried, partial(viewer.cancel, force=number % 4 == 0)),
            viewer._expire_if_overdue if number % 5 else sweep,
            sweep,
        )
        row = fresh(process)
        assert row.status in TERMINAL
        assert row.finished_url == urls[Status(row.status)]
        assert (row.result == "result") == (row.status == Status.SUCCEEDED)
        seen.add(row.status)
    assert len(seen) >= 2, "Always the same one wins: that is no race."


def test_the_same_message_taken_by_four() -> None:
    for _ in range(ROUNDS // 5):
        process = start()
        take = partial(dispatch.claim, str(process.key), task_id=process.task_id)
        executions = [executing for executing in together(4, lambda number, take=take: take()) if executing]
        assert len(executions) == 1
        assert fresh(process).executions == 1


def test_a_message_taken_as_it_is_cancelled() -> None:
    for _ in range(ROUNDS // 2):
        process = start()
        viewer = fresh(process)

        def work(process: Process = process) -> None:
            executing = dispatch.claim(str(process.key), task_id=process.task_id)
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


def test_a_beat_and_a_request_to_cancel() -> None:
    """Fault 27: neither undoes the other."""
    for _ in range(ROUNDS // 2):
        process = start()
        executing = claim(process)
        viewer = fresh(process)
        Attempt.objects.filter(process=process).update(lease_until=timezone.now() - timedelta(minutes=1))
        all_together(
            partial(leases.renew, {executing.token: (60, "default")}),
            viewer.cancel,
            partial(leases.renew, {executing.token: (60, "default")}),
        )
        attempt = Attempt.objects.get(process=process)
        assert attempt.cancel_requested_at is not None
        assert attempt.lease_until is not None
        assert attempt.lease_until > timezone.now()
        settle(executing, lambda p: p.checkpoint())
        assert fresh(process).status == Status.CANCELLED


def test_a_rescue_and_a_job_that_completes() -> None:
    """Fault 25, with threads."""
    for _ in range(ROUNDS // 2):
        process = start(max_attempts=2)
        executing = claim(process)
        Attempt.objects.filter(process=process).update(lease_until=timezone.now() - timedelta(minutes=1))
        all_together(partial(settle, executing, lambda p: "done"), sweep)
        row = fresh(process)
        if row.status == Status.SUCCEEDED:
            assert types(process)[-1] == "succeeded"
        else:
            assert (row.status, row.result) == (Status.PENDING, None)
            assert Attempt.objects.get(process=process).outcome == Outcome.LOST


def test_a_rescue_and_a_beat() -> None:
    for _ in range(ROUNDS // 2):
        process = start(max_attempts=2)
        executing = claim(process)
        Attempt.objects.filter(process=process).update(lease_until=timezone.now() - timedelta(minutes=1))
        all_together(partial(leases.renew, {executing.token: (60, "default")}), sweep)
        attempt = Attempt.objects.get(process=process)
        assert (attempt.outcome == Outcome.LOST) == (fresh(process).status == Status.PENDING)


def test_an_attempt_that_was_given_up_and_its_successor() -> None:
    """Fault 26, with threads: the old one changes nothing (I4)."""
    for _ in range(ROUNDS // 5):
        process = start(max_attempts=2)
        old = claim(process)
        Attempt.objects.filter(process=process).update(lease_until=timezone.now() - timedelta(minutes=1))
        sweep()
        new = claim(process)

        def report(executing: Any) -> str:
            with inside(executing):
                return tried(partial(executing.process.milestone, f"by-{executing.number}"))

        assert all_together(partial(report, old), partial(report, new)) == ["ProcessSuperseded", "done"]
        all_together(partial(settle, old, lambda p: "old"), partial(settle, new, lambda p: "new"))
        assert (fresh(process).milestone_name, fresh(process).result) == ("by-2", "new")


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
        Attempt.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
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
