"""A caller that reports and keeps its transaction open: nobody waits for it, and its hints are seen meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client

from django_progress import leases
from django_progress.clock import DatabaseNow
from django_progress.exceptions import ProcessCancelled
from django_progress.models import Attempt, Process
from django_progress.sweep import sweep
from tests.executing import claim, fresh, inside, last_attempt, settle, start, types
from tests.faults.watching import at_most
from tests.races.threads import all_together, elsewhere
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

PATIENCE = 60
AT_ONCE = 10.0
"""Seconds that are not waiting for anybody, however busy the machine is; the caller holds on for longer."""

REPORTS: dict[str, Callable[[Process], Any]] = {
    "a hint": lambda process: process.log("working"),
    "a milestone": lambda process: process.milestone("here"),
    "an end": lambda process: process.succeed(),
}


@contextmanager
def held_open(process: Process, report: Callable[[Process], Any]) -> Iterator[None]:
    """Have the body of ``process`` report in a transaction, and commit it when the block ends."""
    executing = claim(process)
    held, done = threading.Event(), threading.Event()

    def body() -> None:
        with transaction.atomic(), inside(executing) as mine:
            report(mine)
            held.set()
            assert done.wait(PATIENCE)

    thread = threading.Thread(target=all_together, args=(body,))
    thread.start()
    try:
        assert held.wait(PATIENCE)
        yield
    finally:
        done.set()
        thread.join(PATIENCE)


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def own_rows() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database has one writer at a time.")


@pytest.mark.usefixtures("own_rows")
@pytest.mark.parametrize("report", REPORTS)
def test_fault_36_nobody_waits_for_a_caller_that_holds_its_transaction(report: str, user: User) -> None:
    holds_the_row = report != "a hint"
    process = start(owner=user, max_attempts=2, max_duration=600, lease=0.2 if holds_the_row else None)
    client = Client()
    client.force_login(user)
    with held_open(process, REPORTS[report]):
        neighbour = claim(start())
        with at_most(AT_ONCE):
            # Somebody who reports to another process, in the same worker.
            with inside(neighbour) as other:
                other.milestone("unhindered")
            # The poll.
            assert client.get(f"/progress/{process.key}/status/").json()["status"] == "running"
            # The sweep, which finds it silent and leaves alone what is held.
            if holds_the_row:
                wait_until(lambda: Attempt.objects.silent().filter(process=process).exists())
            assert sweep() == {}
            # The heartbeat of all that executes in this worker.
            Attempt.objects.filter(token=neighbour.token).update(lease_until=DatabaseNow(-5))
            terms = leases.Held(lease=60, beat=10, using="default")
            leases.renew(dict.fromkeys([fresh(process).attempt_token, neighbour.token], terms))
            assert not Attempt.objects.silent().exclude(process=process).exists()
            # The sweep again, with something to do elsewhere.
            Process.objects.filter(pk=other.pk).update(expires_at=DatabaseNow(-1))
            assert sweep() == {"expired": 1}


@pytest.mark.usefixtures("own_rows")
@pytest.mark.parametrize("report", ["a hint", "a milestone"])
def test_fault_36_a_cancel_does_not_wait_either(report: str) -> None:
    process = start()
    with held_open(process, REPORTS[report]), at_most(AT_ONCE):
        assert fresh(process).cancel() is False
    assert last_attempt(process).cancel_requested_at is not None


@pytest.mark.usefixtures("own_rows")
def test_fault_36_after_a_hint_others_may_report_to_the_same_process() -> None:
    process = start()
    with held_open(process, REPORTS["a hint"]), at_most(AT_ONCE):
        fresh(process).milestone("by-another")
    assert types(process) == ["milestone", "attempt", "log", "milestone"]


HOLDERS: dict[str, Callable[[Process, Process], Any]] = {
    "the body, by a milestone": lambda mine, viewer: mine.milestone("long"),
    "the body, by an end": lambda mine, viewer: mine.succeed(),
    "somebody else, by a cancel": lambda mine, viewer: viewer.cancel(),
}


class Undone(Exception):
    pass


@pytest.mark.parametrize("holder", HOLDERS)
def test_fault_36_an_attempt_that_is_held_for_longer_than_its_lease_is_not_given_up(holder: str) -> None:
    """Its worker can't beat meanwhile: it is given the time to do so afterwards, if all that was rolled back."""
    process = start(max_attempts=2, lease=2)
    executing = claim(process)
    viewer = fresh(process)
    over = threading.Event()

    def hold(mine: Process) -> None:
        with suppress(Undone), transaction.atomic():
            HOLDERS[holder](mine, viewer)
            end = last_attempt(process).lease_until
            assert end is not None
            wait_until(lambda: Process.objects.with_now().get(pk=process.pk).now > end, what="the end of the lease")
            raise Undone

    def body() -> None:
        with inside(executing) as mine, leases.held(executing, "default"):
            if holder == "somebody else, by a cancel":
                elsewhere(partial(hold, mine))
            else:
                hold(mine)
            # As long as a beat may take to come through.
            wait_until(lambda: not Attempt.objects.silent().exists())
        over.set()

    def rescue() -> list[Any]:
        done = []
        while not over.wait(0.02):
            done.append(sweep())
        return done

    _, done = all_together(body, rescue)
    assert not any(done)
    settle(executing, lambda p: "in the end")
    assert fresh(process).result == "in the end"


# Reports inside the caller's atomic()


def all_hints(process: Process) -> None:
    process.set_progress(1, 10)
    process.set_message("Stage", "thinking")
    process.log("a line")
    for _ in process.track(range(2)):
        pass
    process.advance(3)
    process.checkpoint()


@pytest.mark.usefixtures("own_rows")
def test_hints_inside_the_callers_atomic_are_seen_at_once(user: User) -> None:
    """And stay when it rolls back; a step that is rolled back does not look done."""
    process = start(owner=user, max_attempts=2)
    client = Client()
    client.force_login(user)
    executing = claim(process)
    with suppress(ZeroDivisionError), transaction.atomic(), inside(executing) as mine:
        all_hints(mine)
        (shown,) = all_together(lambda: client.get(f"/progress/{process.key}/status/").json())
        assert shown["progress"]["current"] == 6
        assert shown["messages"] == [{"key": "Stage", "value": "thinking"}]
        mine.milestone("undone")
        with at_most(AT_ONCE):
            all_hints(mine)  # the row is the caller's own by now: it doesn't wait for itself
        raise ZeroDivisionError
    row = fresh(process)
    assert (row.current, row.messages, row.milestone_name) == (6, [("Stage", "thinking")], "started")
    settle(executing, lambda p: None)


@pytest.mark.usefixtures("own_rows")
def test_a_cancel_stops_hints_inside_the_callers_atomic() -> None:
    process = start()
    executing = claim(process)
    with transaction.atomic(), inside(executing) as mine:
        mine.log("a line")
        assert all_together(fresh(process).cancel) == [False]
        with pytest.raises(ProcessCancelled):
            mine.log("another")
