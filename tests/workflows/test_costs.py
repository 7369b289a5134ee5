"""What thousands of parallel steps cost: statements for each, and what is looked at again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_progress import claiming
from django_progress.clock import DatabaseNow
from django_progress.models import Process
from django_progress.snapshot import take as look
from django_progress.starting import AGAIN_AFTER
from django_progress.status import Status
from django_progress.workflows import Workflow
from tests.executing import fresh, inside, settle
from tests.unit.conftest import FakeEngine
from tests.workflows.driving import body, drain, execute, execution, step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]

CLAIM = {"postgresql": 7}
"""The process; beginning; its workflow, locked and changed; the process, changed; its attempt, its step; the commit.

Where a statement can't return what it changes, both rows are read afterwards, and the event is inserted by itself.
"""
BODY = 1
"""The step, and its workflow with it."""
END = {"postgresql": 9}
"""Beginning; the workflow, locked; the process, changed; its attempt; the steps, locked; two of them, changed; the
workflow, changed; the commit. Elsewhere the same as above comes on top.
"""


def parallel(define: Define, count: int, **options: Any) -> Process:
    """Return a workflow whose parts wait for a worker."""
    workflow = define(**options)
    workflow.step(name="load", each=lambda results: list(range(count)))(lambda step, item: item)
    process = workflow.start()
    execute(process, "#.load")
    return process


def counted(captured: CaptureQueriesContext) -> int:
    """Return how many statements there were; all inserts into one table are one, which Django 5.2 splits for SQLite."""
    inserts = [query["sql"].split("(")[0] for query in captured if query["sql"].startswith("INSERT")]
    return len(captured) - len(inserts) + len(set(inserts))


@pytest.mark.parametrize("options", [{}, {"max_duration": 600}, {"max_attempts": 3}])
def test_statements_of_a_part(define: Define, options: dict[str, Any]) -> None:
    process = parallel(define, 5, **options)
    for number in range(3):
        child = execution(process, f"#.load[{number}]")
        with CaptureQueriesContext(connection) as claimed:
            executing = claiming.claim(str(child.key), task_id=child.task_id)
        assert executing is not None
        with inside(executing) as running, CaptureQueriesContext(connection) as performed:
            body(running)
        with CaptureQueriesContext(connection) as ended:
            settle(executing, lambda step: step.task_args[0])
        counts = (len(claimed), len(performed), len(ended))
        assert counts == (CLAIM.get(connection.vendor, 10), BODY, END.get(connection.vendor, 12))
    assert drain(process).result == list(range(5))


def test_statements_do_not_grow_with_the_parts(define: Define) -> None:
    def planning(count: int) -> int:
        workflow = define()
        workflow.step(name="load", each=lambda results: list(range(count)))(lambda step, item: item)
        process = workflow.start()
        with CaptureQueriesContext(connection) as captured:
            execute(process, "#.load")
        return counted(captured)

    assert planning(100) == planning(2)


def test_a_broker_that_is_down_is_not_asked_for_each_part(define: Define, engine: FakeEngine) -> None:
    """A request that runs thousands again has to answer; the sweep sends all of them soon."""

    def planning(count: int) -> tuple[Process, int]:
        workflow = define()
        workflow.step(name="load", each=lambda results: list(range(count)))(lambda step, item: item)
        process = workflow.start()
        with CaptureQueriesContext(connection) as captured:
            engine.works = False
            execute(process, "#.load")
            engine.works = True
        return process, counted(captured)

    (_, few), (process, many) = planning(2), planning(100)
    assert few == many
    parts = Process.objects.filter(parent=process, status=Status.PENDING)
    assert parts.count() == parts.filter(due_at__lte=DatabaseNow(AGAIN_AFTER)).count() == 100
    assert not parts.exclude(publish_count=1).exists()


def test_a_part_whose_message_comes_twice_touches_nothing(define: Define) -> None:
    """Its workflow is not locked for it, and nothing about that has changed."""
    process = parallel(define, 2)
    child = execution(process, "#.load[0]")
    execute(process, "#.load[0]")
    before = fresh(process).revision
    with CaptureQueriesContext(connection) as captured:
        assert claiming.claim(str(child.key), task_id=child.task_id) is None
    assert len(captured) == 1
    assert fresh(process).revision == before


def test_parts_are_published_together(define: Define, engine: FakeEngine) -> None:
    parallel(define, 5)
    assert engine.batches == [1, 5]


def test_who_ended_a_part_elsewhere(define: Define) -> None:
    """What did not execute it knows only the process, and does the same."""
    process = parallel(define, 2)
    execution(process, "#.load[0]").succeed(7)
    assert (step(process, "#.load[0]").result, step(process, "#.load").parts_left) == (7, 1)
    execute(process, "#.load[1]")
    assert (fresh(process).status, fresh(process).result) == (Status.SUCCEEDED, [7, 1])


def test_the_status_is_found_by_an_index(define: Define) -> None:
    """Of thousands of steps only those of the definition are read."""
    process = parallel(define, 3000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor != "mysql" else "ANALYZE TABLE django_progress_step")
    steps = process.steps.planned().order_by("position")
    plan = steps.explain()
    assert "dp_step_planned" in plan, plan
    assert len(look(process).steps) == 1
