"""That a workflow's pages hear of what its steps report: its row changes after the step's own commit, and seldom."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_progress import beside, dispatch
from django_progress.clock import DatabaseNow
from django_progress.models import Event, Process
from django_progress.views.live import Live
from django_progress.workflows import Workflow
from tests.executing import claim, fresh, inside
from tests.workflows.driving import execution, take

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]

VERBS = {
    "log": lambda step: step.log("a line"),
    "milestone": lambda step: step.milestone("half", "Half of it"),
    "message": lambda step: step.set_message("Stage", "Europe"),
    "numbers without a total": lambda step: step.set_progress(7),
    "result": lambda step: step.set_result({"so": "far"}),
}


@pytest.fixture
def process(define: Define) -> Process:
    workflow = define()
    workflow.step(name="a", max_attempts=2)(lambda step: None)
    workflow.step(name="b", after=[])(lambda step: None)
    return workflow.start()


def revision(process: Process) -> int:
    return fresh(process).revision


def events(process: Process) -> int:
    return Event.objects.filter(process=process).count()


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_step_reports_changes_the_revision_of_its_workflow(process: Process, verb: str) -> None:
    with inside(take(process, "#.a")) as step:
        before, told = revision(process), events(process)
        VERBS[verb](step)
        assert revision(process) == before + 1
        assert events(process) == told


def test_at_most_once_in_an_interval(process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"REPORT_INTERVAL": 60}
    with inside(take(process, "#.a")) as step, inside(take(process, "#.b")) as other:
        before = revision(process)
        for number in range(10):
            step.log(f"line {number}")
            step.set_message("Line", number)
        assert revision(process) == before + 1
        # Each step by itself.
        other.log("another's")
        assert revision(process) == before + 2


def test_numbers_are_passed_on_when_they_are_written(process: Process, settings: Any) -> None:
    """The bar moves, whatever line came just before."""
    with inside(take(process, "#.a")) as step:
        step.log("half of it")
        step.set_progress(50, 100)
        assert fresh(process).percent == 25
    settings.DJANGO_PROGRESS = {"REPORT_INTERVAL": 60}
    with inside(take(process, "#.b")) as step:
        step.set_progress(50, 100)
        before = revision(process)
        for _ in step.track(range(10)):
            step.log("a line for each, with what was counted")
        assert revision(process) == before + 2  # As the loop begins, and as it ends.


def test_the_end_shows_what_was_left(process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"REPORT_INTERVAL": 60}
    executing = take(process, "#.a")
    with inside(executing) as step:
        step.log("first")
        step.log("second")
        before = revision(process)
        dispatch.returned(executing, None)
    assert revision(process) > before


def test_what_was_left_is_shown_when_the_time_is_told(process: Process) -> None:
    """A poll and a stream compare tokens; that of a workflow changes as time goes by."""

    def token(elapsed: float) -> str:
        Process.objects.filter(pk=process.pk).update(created_at=DatabaseNow(-elapsed))
        return Live(Process.objects.with_now().get(pk=process.pk), "status").token

    assert token(3_605) == token(3_606)
    assert token(3_605) != token(3_616)


def test_further_attempts_are_shown(process: Process) -> None:
    executing = take(process, "#.a")
    before = revision(process)
    dispatch.raised(executing, ValueError("once"))
    assert revision(process) == before + 1
    claim(execution(process, "#.a"))
    assert revision(process) == before + 2


def test_what_is_rolled_back_shows_nothing(process: Process) -> None:
    with inside(take(process, "#.a")) as step:
        before = revision(process)
        with transaction.atomic():
            step.milestone("half", "Half of it")
            transaction.set_rollback(True)
        assert revision(process) == before


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time.")
def test_a_workflow_that_somebody_holds_makes_no_step_wait(process: Process) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Process.objects.select_for_update().get(pk=process.pk)
                held.set()
                done.wait(30)
        finally:
            connections.close_all()

    with inside(take(process, "#.a")) as step:
        before = revision(process)
        holder = threading.Thread(target=hold)
        holder.start()
        try:
            assert held.wait(10)
            step.log("while it is held")
            assert Event.objects.filter(process=step, type="log").count() == 1
            assert revision(process) == before
        finally:
            done.set()
            holder.join()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="Hints wait for the commit there.")
def test_what_is_said_inside_a_transaction_is_passed_on_at_once(process: Process) -> None:
    with inside(take(process, "#.a")) as step:
        before = revision(process)
        seen: list[int] = []
        with transaction.atomic():
            step.log("beside it")
            assert beside.alias.get() is None

            def look() -> None:
                seen.append(revision(process))
                connections.close_all()

            looker = threading.Thread(target=look)
            looker.start()
            looker.join()
        assert seen == [before + 1]
