"""What the function of a step is called with: what it names of the start's arguments, and the results."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import registry

if TYPE_CHECKING:
    from ..models import Process
    from .definition import StepDefinition, Workflow
    from .graph import Graph
    from .results import Results

__all__ = ["arguments_of", "check_arguments", "names_by_position"]

RESULTS = "results"
VAR = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_of(step: StepDefinition, kwargs: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Return the arguments by name, after the process and the item."""
    offered = {**kwargs, RESULTS: results}
    taken, takes_all = _parameters(step)
    return {name: value for name, value in offered.items() if name in taken or (takes_all and name != RESULTS)}


def names_by_position(process: Process) -> tuple[str, ...] | None:
    """Return the names under which a step's function takes what its process stores; None where they aren't known.

    Two queries.
    """
    assert process.parent is not None
    try:
        step = registry.find_step(process.parent, process.step.name)
    except Exception:  # A workflow may be built by a function of the project's, which may raise anything.
        return None
    return tuple(parameter.name for parameter in _given_first(step))[1:]


def check_arguments(workflow: Workflow, graph: Graph, kwargs: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for arguments that no step takes, or that one misses."""
    if RESULTS in kwargs:
        raise TypeError(f"An argument can't be called {RESULTS}: steps get the results of the others under that name.")
    unused = set(kwargs) if workflow.builder is None else set()
    for node in graph.nodes.values():
        step = node.step
        taken, takes_all = _parameters(step)
        unused = set() if takes_all else unused - set(taken)
        first = "a step and an item" if step.each else "a step"
        if len(_given_first(step)) < (2 if step.each else 1):
            raise TypeError(f"{step.name}{step.signature} must take {first} first.")
        missing = [
            name
            for name, parameter in taken.items()
            if parameter.default is parameter.empty and name not in kwargs and name != RESULTS
        ]
        if missing:
            raise TypeError(
                f"The step {step.name}{step.signature} needs {', '.join(missing)}, which the start was not given. "
                f"(What comes after {first} is looked up by name; the results of other steps are in {RESULTS}.)"
            )
    if unused:
        raise TypeError(f"No step of {workflow.name} takes {', '.join(sorted(unused))}.")


def _given_first(step: StepDefinition) -> list[inspect.Parameter]:
    """Return the parameters that are given by position: the process, and the item."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = step.signature.parameters.values()
    first = [parameter for parameter in parameters if parameter.kind in positional][: 2 if step.each else 1]
    if any(parameter.kind == inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        first += [parameter for parameter in parameters if parameter.kind == inspect.Parameter.VAR_POSITIONAL] * 2
    return first


def _parameters(step: StepDefinition) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that are given by name, and whether any others are taken, too."""
    first = {parameter.name for parameter in _given_first(step)}
    parameters = step.signature.parameters
    named = {
        name: parameter for name, parameter in parameters.items() if name not in first and parameter.kind not in VAR
    }
    return named, any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
