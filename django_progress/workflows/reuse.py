"""Which steps of a workflow that has ended must run again, and whose results are still good.

The rule: a step runs only when those before it have succeeded, and not earlier than they
did; what depends on a step that runs again runs again. So a result is good if its step
succeeded, stands in the definition as it did, and was queued no earlier than all before it
were complete. A condition that was not met is a result like any other: the steps of a step
that was skipped stay as they are until that one runs again itself.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ..exceptions import NothingFailed, StepNotFound, StepNotReady
from ..models import Step
from ..status import StepStatus
from .graph import Graph, Node

__all__ = ["Choice", "Way", "choose", "parts_of_path"]

GOOD = (StepStatus.SUCCEEDED, StepStatus.SKIPPED)
NAMED = 20

_part = re.compile(r"(?P<path>.*)\[(?P<index>[0-9]{1,9})\]\Z", re.DOTALL)


class Way(StrEnum):
    """How much of a workflow runs again."""

    FAILED = "failed"
    """What did not succeed, and what depends on it."""
    FROM = "from"
    """A step and what depends on it, and whatever else did not succeed."""
    ONLY = "only"
    """One step, and nothing else: what depends on it is out of date from then on."""
    ALL = "all"
    """Everything, as its definition is now."""

    @property
    def takes_path(self) -> bool:
        """Whether it is about one step."""
        return self in (Way.FROM, Way.ONLY)


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of each step in a new run."""

    whole: frozenset[str]
    """The paths of the steps that run again, with all their sub-steps."""
    parts: Mapping[str, frozenset[int]]
    """Of the steps that keep their list of items: which of their sub-steps run again."""
    stale: frozenset[str] = field(default_factory=frozenset)
    """Those that don't run, and whose results are not good any more."""
    missing: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Of those among them that keep their list of items: which of their sub-steps have no good result."""

    @property
    def moving(self) -> frozenset[str]:
        """The paths of those of which anything runs."""
        return self.whole | self.parts.keys()


def parts_of_path(path: str) -> tuple[str, int | None]:
    """Return the path of a step, and which of its sub-steps is meant: ``#.load[3]`` is ``("#.load", 3)``."""
    found = _part.match(path)
    return (found["path"], int(found["index"])) if found else (path, None)


def choose(graph: Graph, old: Mapping[str, Step], failed_parts: Mapping[str, set[int]], way: Way, path: str) -> Choice:
    """Decide what runs again.

    ``old`` are the steps as they stand, without sub-steps; ``failed_parts`` says of each
    which of its sub-steps have not succeeded. Raises ``StepNotFound``, and
    ``NothingFailed`` or ``StepNotReady`` for what makes no sense.
    """
    if way is Way.ALL:
        return Choice(frozenset(graph.nodes), {})
    chosen, index = parts_of_path(path) if way.takes_path else ("", None)
    if way.takes_path:
        _look_up(graph, old, chosen, index, path)
    held = _held(graph, old)
    whole, parts = _undone(graph, old, failed_parts, held)
    if way is Way.FAILED and not whole and not parts:
        raise NothingFailed
    undone = _spread(graph, held, whole, parts)
    if chosen in held and chosen not in undone:
        raise _skipped_with(graph, held, chosen)
    if way is Way.ONLY:
        kept = _kept(graph, held, whole, parts)
        return _alone(graph, held, failed_parts, undone, kept, chosen, index, is_whole=chosen in whole)
    if index is None and chosen:
        whole.add(chosen)
    elif index is not None and chosen not in whole:
        parts.setdefault(chosen, set()).add(index)
    kept = _kept(graph, held, whole, parts)
    return Choice(frozenset(_spread(graph, held, whole, parts) - kept.keys()), kept)


def _look_up(graph: Graph, old: Mapping[str, Step], chosen: str, index: int | None, path: str) -> None:
    if chosen not in graph.nodes:
        known = ", ".join(list(graph.nodes)[:NAMED])
        raise StepNotFound(f"There is no step {path!r:.300} in this workflow; there are {known}.")
    if index is not None and (chosen not in old or index >= old[chosen].parts):
        count = old[chosen].parts if chosen in old else 0
        raise StepNotFound(f"The step {chosen} had {count} sub-steps, so {path!r:.300} is none of them.")


def _held(graph: Graph, old: Mapping[str, Step]) -> set[str]:
    """Return the steps of steps that were skipped, whatever else they wait for. A step stands after its parent."""
    held: set[str] = set()
    for path, node in graph.nodes.items():
        above = old.get(node.parent)
        if node.parent in held or (above is not None and above.status == StepStatus.SKIPPED):
            held.add(path)
    return held


def _skipped_with(graph: Graph, held: set[str], chosen: str) -> StepNotReady:
    above = chosen
    while above in held:
        above = graph.nodes[above].parent
    return StepNotReady(
        f"The step {chosen} can't run by itself, because {above}, which it is a part of, was skipped; "
        f"run it again from {above}."
    )


def _undone(
    graph: Graph, old: Mapping[str, Step], failed_parts: Mapping[str, set[int]], held: set[str]
) -> tuple[set[str], dict[str, set[int]]]:
    """Return which steps have no good result of their own, and which of those only for some sub-steps."""
    whole: set[str] = set()
    parts: dict[str, set[int]] = {}
    completed: dict[str, datetime | None] = _completed(graph, old)
    for path, node in graph.nodes.items():
        row = old.get(path)
        if path in held:
            continue
        if row is None or not _is_the_same(node, row) or not _is_in_time(node, row, old, completed):
            whole.add(path)
        elif row.status == StepStatus.STALE and len(failed_parts.get(path, ())) >= row.parts:
            whole.add(path)  # Its items may be out of date as well, though nothing in its row says so any more.
        elif row.parts and failed_parts.get(path):
            parts[path] = set(failed_parts[path])
        elif row.status not in GOOD:
            whole.add(path)
    return whole, parts


def _is_the_same(node: Node, row: Step) -> bool:
    waits_for = [*([node.parent] if node.parent != "#" else []), *node.after]
    return bool(row.waits_for == waits_for and row.options["each"] == (node.step.each is not None))


def _is_in_time(
    node: Node, row: Step, old: Mapping[str, Step], completed: Mapping[str, datetime | None]
) -> bool:  # fmt: skip
    """Ask whether a step began when all before it was complete. What was skipped with its parent never began."""
    if row.queued_at is None:
        return True
    before = [completed.get(path) for path in node.after]
    if node.parent != "#":
        parent = old.get(node.parent)
        before.append(parent.finished_at if parent else None)
    return all(moment is None or moment <= row.queued_at for moment in before)


def _completed(graph: Graph, old: Mapping[str, Step]) -> dict[str, datetime | None]:
    """Return when each step and all under it had ended. A step stands after its parent in the graph."""
    latest: dict[str, datetime | None] = {
        path: old[path].finished_at if path in old else None for path in graph.nodes
    }  # fmt: skip
    for path, node in reversed(graph.nodes.items()):
        own, above = latest[path], latest.get(node.parent)
        if node.parent != "#" and own is not None and (above is None or own > above):
            latest[node.parent] = own
    return latest


def _spread(graph: Graph, held: set[str], *starts: Iterable[str]) -> set[str]:
    """Return those steps, and all that depend on one of them."""
    children: dict[str, list[str]] = defaultdict(list)
    for path, node in graph.nodes.items():
        children[node.parent].append(path)
    reached = {path for start in starts for path in start}
    waiting = deque(reached)
    while waiting:
        path = waiting.popleft()
        for other in [*children[path], *(other for other in _fed(graph, path) if other not in held)]:
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached


def _fed(graph: Graph, path: str) -> Iterator[str]:
    """Yield what waits for a step, or for one that is not complete before this one is."""
    while path != "#":
        node = graph.nodes[path]
        yield from node.feeds
        path = node.parent


def _kept(
    graph: Graph, held: set[str], whole: set[str], parts: Mapping[str, set[int]]
) -> dict[str, frozenset[int]]:  # fmt: skip
    """Leave out the sub-steps of steps that depend on something that runs again: those are planned anew."""
    reached = _spread(graph, held, whole)
    for path in parts:
        reached |= _spread(graph, held, [path]) - {path}
    return {path: frozenset(some) for path, some in parts.items() if path not in reached}


def _alone(
    graph: Graph,
    held: set[str],
    failed_parts: Mapping[str, set[int]],
    undone: set[str],
    kept: Mapping[str, frozenset[int]],
    chosen: str,
    index: int | None,
    *,
    is_whole: bool,
) -> Choice:
    not_ready = undone & _before(graph, chosen)
    first = next((path for path in graph.nodes if path in not_ready), None)
    if first is not None:
        raise StepNotReady(
            f"The step {chosen} can't run by itself, because {first}, before it, has no result that is still good; "
            f"run it again from {first}."
        )
    depending = _spread(graph, held, [chosen])
    after = frozenset((depending | undone) - {chosen})
    missing = {path: some for path, some in kept.items() if path not in depending}
    if index is None:
        return Choice(frozenset([chosen]), {}, after, missing)
    if is_whole:
        raise StepNotReady(
            f"The sub-step {chosen}[{index}] can't run by itself, because the items of {chosen} are out of date; "
            f"run {chosen}."
        )
    others = failed_parts.get(chosen, set()) - {index}
    if others:
        raise StepNotReady(
            f"The sub-step {chosen}[{index}] can't run by itself, because {chosen}[{min(others)}] has not succeeded "
            "either; retry what failed."
        )
    return Choice(frozenset(), {chosen: frozenset([index])}, after, missing)


def _before(graph: Graph, chosen: str) -> set[str]:
    """Return what has to be complete before a step may begin."""
    under: dict[str, list[str]] = defaultdict(list)
    for path, node in graph.nodes.items():
        under[node.parent].append(path)
    before: set[str] = set()
    waiting = deque([chosen])
    while waiting:
        node = graph.nodes[waiting.popleft()]
        found = [node.parent] if node.parent != "#" else []
        pending = list(node.after)
        while pending:  # Whoever waits for a step waits for all under it.
            path = pending.pop()
            found.append(path)
            pending += under[path]
        for path in found:
            if path not in before:
                before.add(path)
                waiting.append(path)
    return before
