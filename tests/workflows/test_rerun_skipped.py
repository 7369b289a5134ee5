"""Steps that were skipped with the step that they belong to, when something of their workflow runs again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_progress.exceptions import NothingFailed, StepNotReady
from django_progress.models import Process
from django_progress.status import Status
from django_progress.workflows import Way, Workflow, preview, registry, rerun_from, retry_failed, run_again, run_step
from tests.invariants import check_invariants
from tests.workflows.driving import drain, statuses, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]


@pytest.fixture(autouse=True)
def invariants(db: None, engine: Any) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture
def done() -> list[str]:
    return []


@pytest.fixture
def wanted() -> list[bool]:
    """Whether the condition of ``maybe`` is met: while this is empty, it is not."""
    return []


@pytest.fixture
def workflow(define: Define, done: list[str], wanted: list[bool]) -> Workflow:
    """A step that may be skipped, with a child that also waits for another step, and something after each."""
    workflow = define("tests-skipped")

    def note(step: Process) -> str:
        done.append(step.step.name)
        return "done"

    workflow.step(name="other", after=[])(note)
    maybe = workflow.step(name="maybe", after=[], when=lambda results: wanted)(note)
    child = maybe.step(name="child", after=["other"])(note)
    child.step(name="grandchild")(note)
    workflow.step(name="join", after=["maybe"])(note)
    return workflow


SKIPPED = {"#.maybe": "skipped", "#.maybe.child": "skipped", "#.maybe.child.grandchild": "skipped"}


def run(process: Process, done: list[str]) -> tuple[Process, list[str]]:
    done.clear()
    return drain(process), done


def test_what_a_child_waits_for_runs_and_the_child_does_not(workflow: Workflow, done: list[str]) -> None:
    first = drain(workflow.start())
    assert {path: row.fate for path, row in _fates(first, Way.FROM, "#.other").items()} == {
        "#.other": "runs",
        "#.maybe": "reused",
        "#.maybe.child": "reused",
        "#.maybe.child.grandchild": "reused",
        "#.join": "reused",
    }
    second, again = run(rerun_from(first, "#.other"), done)
    assert (again, second.status, second.percent) == (["other"], Status.SUCCEEDED, 100)
    assert statuses(second, "skipped") == SKIPPED
    third, again = run(run_step(second, "#.other"), done)
    assert (again, statuses(third, "skipped"), statuses(third, "stale")) == (["other"], SKIPPED, {})
    with pytest.raises(NothingFailed):
        retry_failed(third)


def test_with_its_step_it_runs(workflow: Workflow, done: list[str], wanted: list[bool]) -> None:
    first = drain(workflow.start())
    wanted.append(True)
    second, again = run(rerun_from(first, "#.maybe"), done)
    assert (again, second.status) == (["maybe", "child", "grandchild", "join"], Status.SUCCEEDED)


def test_its_step_alone_is_skipped_this_time(
    workflow: Workflow, done: list[str], wanted: list[bool]
) -> None:  # fmt: skip
    wanted.append(True)
    first = drain(workflow.start())
    wanted.clear()
    second, again = run(run_step(first, "#.maybe"), done)
    assert again == []
    assert statuses(second, "skipped", "stale") == dict.fromkeys(SKIPPED, "stale") | {
        "#.maybe": "skipped",
        "#.join": "stale",
    }
    third, again = run(retry_failed(second), done)
    assert (again, statuses(third, "skipped"), statuses(third, "stale")) == (["join"], SKIPPED, {})
    assert step(third, "#.maybe.child").result is None


@pytest.mark.parametrize("way", [Way.FROM, Way.ONLY])
@pytest.mark.parametrize("path", ["#.maybe.child", "#.maybe.child.grandchild"])
def test_it_can_not_run_by_itself(workflow: Workflow, way: Way, path: str) -> None:
    first = drain(workflow.start())
    with pytest.raises(StepNotReady, match=r"was skipped; run it again from #\.maybe"):
        run_again(first, way, path)
    assert not first.retries.exists()


def test_one_that_the_definition_has_gained_is_skipped_too(workflow: Workflow, define: Define, done: list[str]) -> None:
    first = drain(workflow.start())
    registry.forget("tests-skipped")
    changed = define("tests-skipped")

    def note(step: Process) -> None:
        done.append(step.step.name)

    changed.step(name="other", after=[])(note)
    maybe = changed.step(name="maybe", after=[], when=lambda results: False)(note)
    child = maybe.step(name="child", after=[])(note)
    child.step(name="grandchild")(note).step(name="new")(note)
    changed.step(name="join", after=["maybe"])(note)
    with pytest.raises(NothingFailed):
        retry_failed(first)
    second, again = run(rerun_from(first, "#.other"), done)
    assert (again, second.status) == (["other"], Status.SUCCEEDED)
    assert statuses(second, "skipped") == SKIPPED | {"#.maybe.child.grandchild.new": "skipped"}
    with pytest.raises(NothingFailed):
        retry_failed(second)


def _fates(process: Process, way: Way, path: str) -> dict[str, Any]:
    return {row.path: row for row in preview(process, way, path).rows}
