"""Fault 41: reads come from a replica that lags, and decisions don't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress import claiming
from django_progress.clock import DatabaseNow
from django_progress.exceptions import ProcessCancelled, ProcessFinished
from django_progress.models import Attempt, Event, Process
from django_progress.retention import prune
from django_progress.status import Outcome, Status
from django_progress.sweep import sweep
from tests.executing import Work, inside, settle
from tests.faults.replica import ALIAS, lagging

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def catch_up(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    with lagging(settings, monkeypatch) as catch_up:
        yield catch_up


def start(**options: Any) -> Process:
    return Process.objects.start("Work", task=Work(), **options)


def true(process: Process) -> Process:
    """Read it where it is."""
    return Process.objects.using("default").get(pk=process.pk)


def claim(process: Process) -> Any:
    executing = claiming.claim(str(process.key), task_id=true(process).task_id)
    assert executing is not None
    return executing


def test_fault_41_the_replica_lags(catch_up: Callable[[], None]) -> None:
    """What the other tests stand on."""
    process = start()
    assert Process.objects.all().db == ALIAS
    assert not Process.objects.exists()
    catch_up()
    assert Process.objects.get() == process
    process.cancel()
    assert Process.objects.get().status == Status.PENDING


def test_fault_41_a_message_is_faster_than_the_replica(catch_up: Callable[[], None]) -> None:
    process = start(max_attempts=2)
    settle(claim(process), lambda p: 1 / 0)
    executing = claim(process)
    assert (executing.number, executing.process.attempt_number) == (2, 2)
    settle(executing, lambda p: "done")
    row = true(process)
    assert (row.status, row.result, row.executions) == (Status.SUCCEEDED, "done", 2)
    outcomes = Attempt.objects.using("default").order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == [Outcome.FAILED, Outcome.SUCCEEDED]


def test_fault_41_each_execution_begins_at_the_milestone_that_was_reached(catch_up: Callable[[], None]) -> None:
    process = start(max_attempts=2)
    settle(claim(process), lambda p: p.milestone("first") or p.requeue())
    names = []

    def body(process: Process) -> None:
        names.append(process.last_milestone.name)
        process.milestone("second")
        process.attempt(lambda: False)

    for _ in range(2):
        settle(claim(process), body)
    assert names == ["first", "first"]


def test_fault_41_a_body_reports_and_is_stopped(catch_up: Callable[[], None]) -> None:
    process = start()
    executing = claim(process)
    with inside(executing) as mine:
        mine.set_progress(3, 10)
        mine.set_message("Stage", "one")
        mine.set_message("Count", 1)
        assert true(process).cancel() is False
        with pytest.raises(ProcessCancelled):
            mine.checkpoint()
    settle(executing, lambda p: p.checkpoint())
    row = true(process)
    assert (row.status, row.current) == (Status.CANCELLED, 3)
    assert row.messages == [("Stage", "one"), ("Count", "1")]


@pytest.mark.parametrize("verb", ["succeed", "cancel", "expire", "remove"])
def test_fault_41_a_verb_of_what_the_replica_showed(verb: str, catch_up: Callable[[], None]) -> None:
    """Whoever acts on an old picture is told what is true, and changes nothing that is over."""
    process = Process.objects.start("x")
    catch_up()
    old = Process.objects.get()
    process.fail("x")
    if verb == "remove":
        old.remove()
        assert not Process.objects.using("default").exists()
        return
    with pytest.raises(ProcessFinished):
        getattr(old, verb)()
    assert true(process).status == Status.FAILED


def test_fault_41_a_pending_one_that_runs_by_now_is_asked(catch_up: Callable[[], None]) -> None:
    process = start()
    catch_up()
    old = Process.objects.get()
    executing = claim(process)
    assert old.cancel() is False
    settle(executing, lambda p: p.checkpoint())
    assert true(process).status == Status.CANCELLED


def test_fault_41_a_retry_and_a_double_click(catch_up: Callable[[], None]) -> None:
    process = start()
    process.cancel()
    first = process.retry()
    catch_up()
    assert Process.objects.get(pk=process.pk).retry() == first
    first.cancel()
    second = Process.objects.get(pk=process.pk).retry()
    assert second != first
    assert Process.objects.get(pk=process.pk).retry() == second


def test_fault_41_the_same_key_twice(catch_up: Callable[[], None]) -> None:
    assert start(idempotency_key="key") == start(idempotency_key="key")


def test_fault_41_the_sweep_and_the_purge_look_at_the_database(catch_up: Callable[[], None]) -> None:
    lost, overdue, old = start(max_attempts=2), start(max_duration=60), start()
    claim(lost)
    rows = Process.objects.using("default")
    Attempt.objects.using("default").update(lease_until=DatabaseNow(-60), doubted_at=DatabaseNow(-60))
    rows.filter(pk=overdue.pk).update(expires_at=DatabaseNow(-1))
    assert sweep() == {"lost": 1, "expired": 1}
    old.cancel()
    rows.filter(pk=old.pk).update(finished_at=DatabaseNow(-60))
    assert prune(30) == 1
    assert true(lost).status == Status.PENDING
    assert true(overdue).status == Status.EXPIRED
    assert not Event.objects.using("default").filter(process_id=old.pk).exists()


def test_fault_41_pages_show_one_moment_and_say_nothing_false(catch_up: Callable[[], None]) -> None:
    """What is shown may be old, and is whole; an old page doesn't expire what has ended."""
    user = User.objects.create_user("ann")
    process = Process.objects.start("x", owner=user, max_duration=60)
    process.milestone("one")
    client = Client()
    catch_up()
    client.force_login(user)
    catch_up()
    process.milestone("two")
    process.succeed("result")
    url = f"/progress/{process.key}/"
    shown = client.get(f"{url}status/").json()
    events = client.get(f"{url}events/").json()
    assert events["last_seq"] == shown["seq"] == events["events"][-1]["seq"]
    assert (shown["status"], shown["result"], shown["done"]) in (
        ("running", None, False),
        ("succeeded", "result", True),
    )
    Process.objects.using("default").filter(pk=process.pk).update(expires_at=DatabaseNow(-1))
    assert client.get(f"{url}status/").status_code == 200
    assert client.get(f"{url}wait/").status_code in (200, 302, 303)
    assert true(process).status == Status.SUCCEEDED
