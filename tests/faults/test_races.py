"""Two or more who want something else of the same process at the same moment.

Each race is run blindly, as often as ``DJANGO_PROGRESS_ROUNDS`` says, and once with the
interleaving that hurts made certain by failpoints.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from django_progress import failpoints, leases
from django_progress.clock import DatabaseNow
from django_progress.execution import Execution
from django_progress.models import Attempt, Event, Process
from django_progress.status import TERMINAL, Outcome, Status
from django_progress.sweep import sweep
from tests.executing import claim, fresh, inside, last_attempt, settle, start, types
from tests.races.threads import all_together, tried
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

ROUNDS = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "15"))
PATIENCE = 30


def silence(process: Process) -> None:
    """Have the lease of its attempt run out; a sweep has seen that already, where it wants to see it twice."""
    Attempt.objects.filter(process=process).update(lease_until=DatabaseNow(-60), doubted_at=DatabaseNow(-60))


def finishers(process: Process) -> dict[Status, Callable[[], Any]]:
    """Return who could end it, each with an instance of his own."""
    rows = [fresh(process) for _ in range(4)]
    return {
        Status.SUCCEEDED: partial(rows[0].succeed, "result"),
        Status.FAILED: partial(rows[1].fail, "x"),
        Status.EXPIRED: rows[2].expire,
        Status.CANCELLED: partial(rows[3].cancel, force=True),
    }


def test_fault_23_four_finishers_and_one_winner() -> None:
    for _ in range(ROUNDS):
        process = Process.objects.start("x")
        verbs = finishers(process)
        results = all_together(*[partial(tried, verb) for verb in verbs.values()])
        assert sorted(results) == ["done", "too late", "too late", "too late"]
        assert fresh(process).status == list(verbs)[results.index("done")]


@pytest.mark.parametrize("winner", TERMINAL)
def test_fault_23_three_come_before_the_first_has_committed(winner: Status) -> None:
    process = Process.objects.start("x", failure_url="/failed/", success_url="/succeeded/")
    verbs = finishers(process)
    first = verbs.pop(winner)
    written = threading.Event()
    others = threading.Semaphore(0)

    def hold() -> None:
        written.set()
        for _ in verbs:
            assert others.acquire(timeout=PATIENCE)

    def late(verb: Callable[[], Any]) -> str:
        assert written.wait(PATIENCE)
        others.release()
        return tried(verb)

    with failpoints.armed("end.before_commit", hold):
        results = all_together(partial(tried, first), *[partial(late, verb) for verb in verbs.values()])
    assert results == ["done", "too late", "too late", "too late"]
    assert fresh(process).status == winner


def test_fault_24_success_cancel_expiry_and_rescue_at_once() -> None:
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
            silence(process)
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


def test_fault_25_a_rescue_and_a_job_that_completes() -> None:
    for _ in range(ROUNDS):
        process = start(max_attempts=2)
        executing = claim(process)
        silence(process)
        all_together(partial(settle, executing, lambda p: "done"), sweep)
        row = fresh(process)
        if row.status == Status.SUCCEEDED:
            assert types(process)[-1] == "succeeded"
        else:
            assert (row.status, row.result) == (Status.PENDING, None)
            assert last_attempt(process).outcome == Outcome.LOST


def test_fault_25_the_job_completes_between_reading_and_writing() -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    silence(process)
    with failpoints.armed("sweep.chosen", lambda: settle(executing, lambda p: "in time")):
        assert sweep() == {}
    assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, "in time")


def test_fault_25_the_job_completes_when_the_rescue_has_begun_to_write() -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    silence(process)
    locked, completing = threading.Event(), threading.Event()

    def hold() -> None:
        locked.set()
        assert completing.wait(PATIENCE)

    def complete() -> None:
        assert locked.wait(PATIENCE)
        completing.set()
        settle(executing, lambda p: "too late")

    with failpoints.armed("sweep.locked", hold):
        done, _ = all_together(sweep, complete)
    assert done == {"lost": 1}
    assert (fresh(process).status, fresh(process).result) == (Status.PENDING, None)


def test_fault_26_an_attempt_that_was_given_up_and_its_successor() -> None:
    for _ in range(ROUNDS):
        process = start(max_attempts=2)
        old = claim(process)
        silence(process)
        sweep()
        new = claim(process)

        def report(executing: Execution) -> str:
            with inside(executing):
                return tried(partial(executing.process.milestone, f"by-{executing.number}"))

        assert all_together(partial(report, old), partial(report, new)) == ["ProcessSuperseded", "done"]
        all_together(partial(settle, old, lambda p: "old"), partial(settle, new, lambda p: "new"))
        assert (fresh(process).milestone_name, fresh(process).result) == ("by-2", "new")


def test_fault_26_the_job_is_claimed_again_between_reading_and_writing() -> None:
    for _ in range(ROUNDS):
        process = start(max_attempts=2)
        executing = claim(process)
        silence(process)
        claimed: list[Execution] = []

        def again(process: Process = process, executing: Execution = executing, claimed: list[Any] = claimed) -> None:
            settle(executing, lambda p: p.requeue())
            claimed.append(claim(process))

        with failpoints.armed("sweep.chosen", again):
            assert sweep() == {}
        assert fresh(process).attempt_token == claimed[0].token
        outcomes = Attempt.objects.filter(process=process).order_by("number").values_list("outcome", flat=True)
        assert list(outcomes) == [Outcome.REQUEUED, Outcome.RUNNING]
        settle(claimed[0], lambda p: None)


def test_fault_27_a_beat_and_a_request_to_cancel() -> None:
    for _ in range(ROUNDS):
        process = start()
        executing = claim(process)
        viewer = fresh(process)
        Attempt.objects.filter(process=process).update(lease_until=DatabaseNow(-60))
        beat = partial(leases.renew, {executing.token: leases.Held(lease=60, beat=10, using="default")})
        all_together(beat, viewer.cancel, beat)
        # A beat leaves out what somebody holds; the next one comes soon enough.
        beat()
        assert last_attempt(process).cancel_requested_at is not None
        assert not Attempt.objects.silent().exists()
        settle(executing, lambda p: p.checkpoint())
        assert fresh(process).status == Status.CANCELLED


def test_fault_27_the_request_comes_as_the_heart_beats() -> None:
    process = start(lease=0.2)
    executing = claim(process)
    first_lease = last_attempt(process).lease_until
    beating, asked = threading.Event(), threading.Event()

    def pause() -> None:
        beating.set()
        assert asked.wait(PATIENCE)

    with failpoints.armed("heartbeat.before", pause), leases.held(executing, "default"):
        assert beating.wait(PATIENCE)
        assert fresh(process).cancel() is False
        asked.set()
        wait_until(lambda: last_attempt(process).lease_until != first_lease, what="the beat")
    assert last_attempt(process).cancel_requested_at is not None
    settle(executing, lambda p: p.checkpoint())
    assert fresh(process).status == Status.CANCELLED


def test_fault_28_b_writes_while_a_holds_its_transaction_and_a_poller_misses_neither() -> None:
    for _ in range(ROUNDS):
        process = Process.objects.start("x")
        a_wrote, b_began, read_once = threading.Event(), threading.Event(), threading.Event()

        def a(process: Process = process, wrote: Any = a_wrote, others: Any = (b_began, read_once)) -> None:
            with transaction.atomic():
                fresh(process).milestone("a")
                wrote.set()
                assert all(event.wait(PATIENCE) for event in others)

        def b(process: Process = process, wrote: Any = a_wrote, began: Any = b_began) -> None:
            assert wrote.wait(PATIENCE)
            began.set()
            process.milestone("b")

        def poll(process: Process = process, wrote: Any = a_wrote, read: Any = read_once) -> list[str]:
            seen: list[Event] = []
            assert wrote.wait(PATIENCE)

            def more() -> bool:
                seen.extend(Event.objects.filter(process=process).after(seen[-1].seq if seen else 0))
                read.set()
                return len(seen) >= 3

            wait_until(more, timeout=PATIENCE, what="both milestones")
            return [event.name for event in seen]

        assert all_together(a, b, poll)[2] == ["started", "a", "b"]
