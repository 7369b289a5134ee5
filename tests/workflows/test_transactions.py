"""Steps and transactions of the caller's: what is seen at once, what waits for whom, and what is never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from django_progress.models import Process
from django_progress.status import Status
from django_progress.sweep import sweep
from django_progress.workflows import Workflow
from tests.executing import fresh, inside, run_out, settle
from tests.invariants import check_invariants
from tests.races.threads import elsewhere
from tests.workflows.driving import body, drain, execute, execution, queued, step, take

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("engine"),
    pytest.mark.skipif(settings.DATABASE == "sqlite", reason="SQLite has one writer at a time."),
]

Define = Callable[..., Workflow]


@pytest.fixture(autouse=True)
def invariants(transactional_db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture
def process(define: Define) -> Process:
    workflow = define()
    workflow.step(name="a", after=[], max_attempts=2)(lambda step: 1)
    workflow.step(name="b", after=[], max_attempts=2)(lambda step: 2)
    workflow.step(name="join", after=["a", "b"])(lambda step, results: results["a"] + results["b"])
    return workflow.start()


def test_the_bar_moves_while_a_step_is_in_a_transaction(process: Process) -> None:
    with inside(take(process, "#.a")) as child, transaction.atomic():
        child.set_progress(3, 4)
        child.checkpoint()
        assert elsewhere(lambda: fresh(process).percent) == 25
    assert fresh(process).percent == 25


def test_a_report_does_not_wait_for_the_workflow(process: Process) -> None:
    """Somebody holds the workflow's row: the bar is late, and nothing else is."""
    executing = take(process, "#.a")

    def report() -> None:
        with inside(executing) as child:
            child.set_progress(1, 2)
            child.checkpoint()

    with transaction.atomic():
        fresh(process).milestone("held")
        elsewhere(report)
        assert execution(process, "#.a").percent == 50
    assert fresh(process).percent == 0
    executing.ticks.flushed_at = -1e9
    with inside(executing) as child:
        child.set_progress(1.5, 2)
        child.checkpoint()
    assert fresh(process).percent == 25


def test_the_sweep_does_not_wait_for_a_workflow(process: Process) -> None:
    take(process, "#.a")
    run_out()
    with transaction.atomic():
        fresh(process).milestone("held")
        assert not elsewhere(sweep)
    assert sweep()["lost"] == 1
    assert drain(process).status == Status.SUCCEEDED


def test_the_sweep_does_not_wait_for_a_step(process: Process) -> None:
    """A step of a workflow that is over holds its row: it is stopped when that is free."""
    with inside(take(process, "#.a")) as child:
        with transaction.atomic():
            child.milestone("held")
            elsewhere(fresh(process).cancel)
            assert not elsewhere(sweep)
            assert execution(process, "#.b").status == Status.CANCELLED
        assert sweep()["stopped"] == 1
    check_invariants(settled=True)


def test_an_end_that_is_rolled_back(process: Process) -> None:
    """The join belongs to the transaction of the end that it counts."""
    execute(process, "#.b")
    executing = take(process, "#.a")
    with inside(executing) as child, transaction.atomic():
        child.succeed(5)
        assert queued(process) == ["#.join"]
        transaction.set_rollback(True)
    assert queued(process) == []
    settle(executing, body)
    assert queued(process) == ["#.join"]
    assert drain(process).result == 3


def test_a_join_above_read_committed(process: Process) -> None:
    """A transaction that doesn't see what others commit meanwhile counts right, or not at all."""
    a, b = take(process, "#.a"), take(process, "#.b")
    characteristics = "CHARACTERISTICS AS " if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {characteristics}TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        with transaction.atomic(), inside(a) as child:
            Process.objects.count()  # From here on it sees what is now.
            elsewhere(lambda: settle(b, body))
            try:
                child.succeed(1)
            except Exception:
                assert connection.vendor == "postgresql"
                transaction.set_rollback(True)
    finally:
        connection.close()
    if connection.vendor == "postgresql":
        assert queued(process) == []
        settle(a, body)
    assert step(process, "#.a").result == 1
    assert queued(process) == ["#.join"]
    assert drain(process).result == 3
