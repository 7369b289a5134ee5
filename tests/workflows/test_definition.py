"""What can't be a workflow is refused where it is written, with what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.utils.translation import gettext_lazy

from django_progress.models import Process, Step
from django_progress.workflows import Workflow, registry

Define = Callable[..., Workflow]


def body(step: Process) -> None:
    """Do nothing."""


def test_paths(define: Define) -> None:
    workflow = define()
    load = workflow.step(name="load")(body)
    index = load.step(name="index")(body)
    assert (load.path, index.path) == ("#.load", "#.load.index")
    assert (load.name, repr(index)) == ("load", "<step #.load.index>")


def test_a_step_is_still_a_function(define: Define) -> None:
    @define().step
    def double(step: Any, number: int) -> int:
        return number * 2

    assert double(None, 3) == 6
    assert double.path == "#.double"


def test_fault_48_a_cycle() -> None:
    """A step of a step that waits for what waits for its parent."""
    workflow = _plan()
    parent = workflow.step(name="parent")(body)
    workflow.step(name="follower", after=["parent"])(body)
    with pytest.raises(ValueError, match=r"wait for each other: .*#\.follower"):
        parent.step(name="child", after=["follower"])(body)
    # What was refused has left nothing behind.
    parent.step(name="child")(body)
    workflow.graph.check()


def test_fault_48_a_longer_cycle() -> None:
    workflow = _plan()
    a = workflow.step(name="a", after=[])(body)
    b = workflow.step(name="b", after=[])(body)
    workflow.step(name="after_a", after=["a"])(body)
    b.step(name="in_b", after=["after_a"])(body)
    workflow.step(name="after_b", after=["b"])(body)
    with pytest.raises(ValueError, match="wait for each other"):
        a.step(name="in_a", after=["after_b"])(body)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "b", "after": ["b"]}, "can't wait for itself"),
        ({"name": "b", "after": ["c"]}, r"'c', which isn't there; define that one first. Known are a"),
        ({"name": "a"}, "There is a step 'a' in this workflow already"),
        ({"name": "A"}, "differ by their case only"),
        ({"name": "x.y"}, "must begin with a letter"),
        ({"name": "x[0]"}, "must begin with a letter"),
        ({"name": "#"}, "must begin with a letter"),
        ({"name": ""}, "must begin with a letter"),
        ({"name": "x" * 65}, "up to 64"),
        ({"name": "results"}, "can't be called 'results'"),
        ({"name": "b", "on_failure": "ignore"}, '"fail" or "continue"'),
        ({"name": "b", "weight": -1}, "weight must be between"),
        ({"name": "b", "max_attempts": 0}, "max_attempts must be at least 1"),
        ({"name": "b", "timeout": 0}, "timeout must be more than 0"),
    ],
)
def test_fault_48_what_is_refused(options: dict[str, Any], message: str) -> None:
    """A self-edge, an unknown dependency, a name twice, names that can't be."""
    workflow = _plan()
    workflow.step(name="a")(body)
    with pytest.raises(ValueError, match=message):
        workflow.step(**options)(body)
    assert list(workflow.graph.nodes) == ["#.a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"after": "a"}, r"after must be a list of names of steps, such as \['a'\]"),
        ({"each": [1, 2]}, "each must be a function"),
        ({"when": True}, "when must be a function"),
        ({"on_complete": "done"}, "on_complete must be a function"),
        ({"wieght": 3}, "wieght"),
    ],
)
def test_wrong_types(options: dict[str, Any], message: str) -> None:
    workflow = _plan()
    workflow.step(name="a")(body)
    with pytest.raises(TypeError, match=message):
        workflow.step(name="b", **options)(body)


def test_a_step_of_a_step_does_not_wait_for_it_to_be_complete() -> None:
    workflow = _plan()
    parent = workflow.step(name="parent")(body)
    with pytest.raises(ValueError, match=r"is a part of 'parent' .* leave it out of after="):
        parent.step(name="child", after=["parent"])(body)


def test_asynchronous_functions(define: Define) -> None:
    async def later(step: Process) -> None:
        """Do nothing, later."""

    with pytest.raises(TypeError, match="async_to_sync"):
        define().step(later)


def test_options_of_a_workflow() -> None:
    for options, message in (
        ({"total": 3}, "its progress is that of its steps"),
        ({"wieght": 3}, "doesn't know wieght="),
    ):
        with pytest.raises(TypeError, match=message):
            Workflow("refused", **options)
    with pytest.raises(ValueError, match="must have a kind"):
        Workflow("")
    assert "refused" not in registry.kinds()


def test_two_workflows_of_one_name(define: Define) -> None:
    define("twice")
    with pytest.raises(ValueError, match="There is a workflow 'twice' already"):
        define("twice")
    define("once")
    assert {"once", "twice"} <= set(registry.kinds())


@pytest.mark.django_db
@pytest.mark.usefixtures("engine")
def test_fault_48_an_empty_workflow(define: Define) -> None:
    """It is refused when it is started, and leaves nothing."""
    with pytest.raises(ValueError, match="has no steps"):
        define().start()
    assert not Process.objects.exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("engine")
def test_arguments_are_checked_at_the_start(define: Define) -> None:
    workflow = define()

    @workflow.step
    def first(step: Process, upload_id: int, results: Any, depth: int = 1) -> None:
        """Do nothing."""

    for arguments, message in (
        ({}, r"needs upload_id, which the start was not given"),
        ({"upload_id": 1, "upload": 2}, "No step of .* takes upload"),
        ({"upload_id": 1, "results": 2}, "can't be called results"),
    ):
        with pytest.raises(TypeError, match=message):
            workflow.start(None, **arguments)
    with pytest.raises(TypeError, match="are given by name"):
        workflow.start(None, 3)
    assert not Process.objects.exists()
    workflow.start(None, upload_id=1)
    workflow.start(None, upload_id=1, depth=2)


@pytest.mark.django_db
@pytest.mark.usefixtures("engine")
def test_a_parallel_step_takes_an_item(define: Define) -> None:
    workflow = define()
    workflow.step(name="load", each=lambda results: [1])(body)
    with pytest.raises(TypeError, match="must take a step and an item first"):
        workflow.start()


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "in a row"])
def test_fault_48_ten_thousand_steps(parallel: bool) -> None:
    """Without recursion, and in a time that grows with their number."""
    workflow = _plan()
    began = time.monotonic()
    for number in range(10_000):
        workflow.step(name=f"s{number}", after=[] if parallel else None)(body)
    workflow.graph.check()
    assert time.monotonic() - began < 30
    assert len(workflow.graph.nodes) == 10_000


def test_a_thousand_steps_within_each_other_are_too_deep() -> None:
    def nest(inner: Any) -> None:
        for number in range(1_000):
            inner = inner.step(name=f"s{number}")(body)

    with pytest.raises(ValueError, match="nest less deeply"):
        nest(_plan())


@pytest.mark.django_db
@pytest.mark.usefixtures("engine")
def test_a_workflow_that_is_built_from_its_arguments(define: Define) -> None:
    calls = []

    @Workflow.built_by("built", description=gettext_lazy("Regions"))
    def regions(plan: Any, names: list[str]) -> None:
        """Load each region."""
        calls.append(names)
        for name in names:
            plan.step(name=f"load-{name}", after=[])(body)

    try:
        assert regions.__doc__ == "Load each region."
        process = regions.start(None, names=["asia", "europe"])
        assert list(Step.objects.filter(process=process).values_list("path", flat=True)) == [
            "#.load-asia",
            "#.load-europe",
        ]
        assert registry.find_step(process, "load-asia").function is body
        registry.find_step(process, "load-europe")
        assert calls == [["asia", "europe"]] * 2, "once at the start, once by the worker"
        with pytest.raises(registry.WorkflowNotFound, match="has no step 'load-africa' any more"):
            registry.find_step(process, "load-africa")
        with pytest.raises(TypeError, match="can't be started so: missing a required argument: 'names'"):
            regions.start()
        with pytest.raises(TypeError, match="are added to the plan"):
            regions.step(body)
        with pytest.raises(ValueError, match="has no steps"):
            regions.start(None, names=[])
    finally:
        registry.forget("built")


def test_a_workflow_that_is_not_loaded() -> None:
    with pytest.raises(registry.WorkflowNotFound, match=r"define it in an application's tasks\.py"):
        registry.find("nowhere")


def _plan() -> Workflow:
    workflow = Workflow("a-plan")
    registry.forget("a-plan")
    return workflow
