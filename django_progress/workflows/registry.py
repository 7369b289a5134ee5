"""Which workflows this program has loaded: workers find the functions of steps by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exceptions import ProgressError

if TYPE_CHECKING:
    from ..models import Process
    from .definition import StepDefinition, Workflow
    from .graph import Graph

__all__ = ["WorkflowNotFound", "add", "find", "find_step", "forget", "kinds"]


class WorkflowNotFound(ProgressError):
    """This workflow, or one of its steps, isn't loaded here."""


KEPT = 64
"""Graphs of started workflows that are kept, so that not each of their steps has them built again."""

_workflows: dict[str, Workflow] = {}
_built: dict[tuple[str, int], Graph] = {}


def add(workflow: Workflow) -> None:
    """Make a workflow known. Raises ``ValueError`` if there is another one of its name."""
    if workflow.name in _workflows:
        raise ValueError(
            f"There is a workflow {workflow.name!r} already, and workers find it by that name. Give this one another; "
            "or is one module loaded under two names?"
        )
    _workflows[workflow.name] = workflow


def forget(name: str) -> None:
    """Make a workflow unknown again (for tests)."""
    _workflows.pop(name, None)
    _built.clear()


def kinds() -> list[str]:
    """Return the names of all, in order."""
    return sorted(_workflows)


def find(name: str) -> Workflow:
    """Return the workflow of that name. Raises :class:`WorkflowNotFound`."""
    try:
        return _workflows[name]
    except KeyError:
        raise WorkflowNotFound(
            f"The workflow {name!r} isn't loaded here, or was renamed: define it in an application's tasks.py, "
            "or in a module that this imports, so that every worker loads it."
        ) from None


def find_step(process: Process, name: str) -> StepDefinition:
    """Return the step of that name as the workflow of ``process`` defines it. Raises :class:`WorkflowNotFound`."""
    workflow = find(process.workflow)
    step = _graph(workflow, process).find(name)
    if step is None:
        raise WorkflowNotFound(
            f"The workflow {workflow.name!r} has no step {name!r} any more, and this process was started with it. "
            "Let what was started end before a step is renamed, or start it again."
        )
    return step


def _graph(workflow: Workflow, process: Process) -> Graph:
    if workflow.builder is None:
        return workflow.graph
    key = (workflow.name, process.pk)
    graph = _built.get(key)
    if graph is None:
        graph = workflow.built(process.task_kwargs)
        # Other threads make room, too: what is kept here may be gone at any moment.
        while len(_built) >= KEPT:
            _built.pop(next(iter([*_built]), key), None)
        _built[key] = graph
    return graph
