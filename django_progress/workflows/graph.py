"""The steps of a workflow and what each waits for. Nothing here recurses: there may be thousands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .definition import StepDefinition

__all__ = ["LONGEST_PATH", "Graph", "Node"]

LONGEST_PATH = 240
"""Characters of a path, so that the number of a sub-step still fits."""
RESERVED = {"results": "it is what a step's function calls the results of the others"}

_name = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


@dataclass(slots=True)
class Node:
    """A step and its place."""

    step: StepDefinition
    path: str
    parent: str
    after: list[str]
    """The paths of those that must be complete before it begins."""
    feeds: list[str] = field(default_factory=list)
    """The paths of those that wait for it to be complete."""
    children: int = 0


class Graph:
    """What is added to it is checked at once; it only grows."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._paths: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        self._last = ""

    def add(self, step: StepDefinition, parent: str, after: list[str] | None) -> str:
        """Add a step, and return its path. Raises ``ValueError`` for what can't be."""
        name = _checked_name(step.name)
        known = self._folded.get(name.casefold())
        if known == name:
            raise ValueError(f"There is a step {name!r} in this workflow already; give this one another name=.")
        if known is not None:
            raise ValueError(
                f"The names {name!r} and {known!r} differ by their case only, which some databases can't tell apart; "
                "give this step another name=."
            )
        path = f"{parent}.{name}"
        if len(path) > LONGEST_PATH:
            raise ValueError(f"The path {path[:80]}… has more than {LONGEST_PATH} characters; nest less deeply.")
        node = Node(step, path, parent, self._resolved(name, parent, after))
        self.nodes[path] = node
        self._paths[name], self._folded[name.casefold()] = path, name
        try:
            if parent != "#":
                self.nodes[parent].children += 1
                if node.after:
                    # Only so can there be a cycle: any other step waits for what was there before it.
                    self.check()
        except ValueError:
            self.nodes[parent].children -= 1
            del self.nodes[path], self._paths[name], self._folded[name.casefold()]
            raise
        for other in node.after:
            self.nodes[other].feeds.append(path)
        if parent == "#":
            self._last = path
        return path

    def find(self, name: str) -> StepDefinition | None:
        """Return the step of that name."""
        path = self._paths.get(name)
        return self.nodes[path].step if path is not None else None

    def check(self) -> None:
        """Raise ``ValueError`` if steps wait for each other in a circle."""
        sorter: TopologicalSorter[tuple[str, str]] = TopologicalSorter()
        for path, node in self.nodes.items():
            sorter.add(("ends", path), ("begins", path))
            sorter.add(("complete", path), ("ends", path))
            for other in node.after:
                sorter.add(("begins", path), ("complete", other))
            if node.parent != "#":
                sorter.add(("begins", path), ("ends", node.parent))
                sorter.add(("complete", node.parent), ("complete", path))
        try:
            sorter.prepare()
        except CycleError as error:
            circle = " → ".join(dict.fromkeys(path for _, path in error.args[1]))
            raise ValueError(
                f"These steps wait for each other: {circle}. A step is complete only when its own steps are; "
                "none of these can wait for one that waits for it."
            ) from None

    def _resolved(self, name: str, parent: str, after: list[str] | None) -> list[str]:
        if after is None:
            return [self._last] if parent == "#" and self._last else []
        paths: dict[str, None] = {}
        for other in after:
            if other == name:
                raise ValueError(f"The step {name!r} can't wait for itself; leave it out of after=.")
            path = self._paths.get(str(other).removeprefix("#.").rpartition(".")[2])
            if path is None or (str(other).startswith("#") and path != other):
                raise ValueError(
                    f"The step {name!r} waits for {other!r}, which isn't there; "
                    f"define that one first. Known are {', '.join(list(self._paths)[-20:]) or 'none so far'}."
                )
            if parent == path or parent.startswith(f"{path}."):
                raise ValueError(
                    f"The step {name!r} is a part of {other!r} and can't wait for it to be complete; "
                    "it begins after it anyway: leave it out of after=."
                )
            paths[path] = None
        return list(paths)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _name.match(name):
        raise ValueError(
            f"A step's name must begin with a letter and have up to 64 letters, digits, '_' and '-', not {name!r:.80}; "
            "give one by name=."
        )
    if name in RESERVED:
        raise ValueError(f"A step can't be called {name!r}: {RESERVED[name]}; give it another name=.")
    return name
