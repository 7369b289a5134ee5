"""Under ``task_always_eager`` a workflow runs to its end where it is started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_progress.models import Process, Step
from django_progress.status import Status
from django_progress.workflows import Workflow
from tests.invariants import check_invariants

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("eager")]

Define = Callable[..., Workflow]


def test_it_runs_to_its_end(define: Define) -> None:
    imports = define(success_url="/airports/")

    @imports.step
    def check(step: Process, upload_id: int) -> dict[str, Any]:
        return {"rows": 28_000, "chunks": [1, 2, upload_id]}

    @imports.step(
        weight=8, each=lambda results: results["check"]["chunks"], when=lambda results: results["check"]["rows"]
    )
    def load(step: Process, chunk: int) -> int:
        for _ in step.track(range(chunk)):
            pass
        return chunk

    @load.step
    def index(step: Process, results: Any) -> int:
        return sum(results["load"])

    @imports.step(after=["load"], on_complete=lambda result: f"{result} rows")
    def report(step: Process, results: Any) -> int:
        return int(results["index"])

    process = imports.start(None, upload_id=3)
    assert (process.status, process.result, process.percent) == (Status.SUCCEEDED, 6, 100)
    assert process.finished_url == "/airports/"
    check_invariants(settled=True)


def test_a_long_chain_is_no_recursion(define: Define) -> None:
    workflow = define()
    for number in range(300):
        workflow.step(name=f"s{number}")(lambda step: None)
    assert workflow.start().status == Status.SUCCEEDED


def test_a_failure(define: Define) -> None:
    def boom(step: Process) -> None:
        raise RuntimeError

    workflow = define(max_attempts=2)
    workflow.step(name="a", after=[])(boom)
    workflow.step(name="b", after=[])(lambda step: None)
    assert workflow.start().status == Status.FAILED
    assert dict(Step.objects.values_list("path", "status")) == {"#.a": "failed", "#.b": "cancelled"}
    check_invariants(settled=True)


def test_a_workflow_within_a_step_of_another(define: Define) -> None:
    inner = define()
    inner.step(name="a")(lambda step: 1)
    inner.step(name="b")(lambda step, results: results["a"] + 1)
    outer = define()
    outer.step(name="first")(lambda step: inner.start().result)
    outer.step(name="second")(lambda step, results: results["first"] + 1)
    assert outer.start().result == 3
    check_invariants(settled=True)


def test_in_a_transaction_of_the_callers(define: Define) -> None:
    from django.db import transaction

    workflow = define()
    workflow.step(name="a")(lambda step: None)
    with transaction.atomic():
        process = workflow.start()
        assert process.status == Status.RUNNING
    assert Process.objects.get(pk=process.pk).status == Status.SUCCEEDED
    with transaction.atomic():
        workflow.start()
        transaction.set_rollback(True)
    assert Process.objects.count() == 2, "a start that was rolled back leaves nothing (I6)"
    assert Step.objects.count() == 1
