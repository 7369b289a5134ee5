"""Running a workflow that has ended again: all that failed, from a step on, or a single step.

What has ended stays as it is, so each of these makes a new process that is linked to the
old one. The results of the steps that need not run are taken over, with their times.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..coordination import plan_again
from ..exceptions import ProcessActive, RetryNotPossible
from ..models import Process, Step
from . import registry
from .copying import take_over
from .graph import Graph
from .reuse import GOOD, Choice, Way, choose

__all__ = ["Preview", "PreviewRow", "preview", "rerun_from", "retry_failed", "run_again", "run_step"]

DEEPEST = 4
"""How far a step is set in at most."""


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """What would become of one step."""

    path: str
    title: str
    depth: int
    """How far down it stands; 0 on the first level."""
    fate: str
    """``runs``, ``partly`` (some of its sub-steps do), ``reused`` or ``stale`` (it doesn't run, and is out of date)."""
    parts: int
    """How many sub-steps it had."""
    parts_run: int
    """How many of those run again, where they are not planned anew."""
    status: str
    """How it stands now."""

    @property
    def depth_shown(self) -> int:
        """How far it is set in: no farther than there is room for."""
        return min(self.depth, DEEPEST)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would run again, and what would be reused."""

    way: Way
    path: str
    rows: tuple[PreviewRow, ...]
    runs: int
    """Steps that run, and sub-steps of those that keep their items: of the others nobody knows yet how many."""
    reused: int
    """Results that are taken over, those of sub-steps included."""
    stale: int
    """Steps that don't run, and whose results are out of date from then on."""


def preview(process: Process, way: Way | str = Way.FAILED, path: str = "") -> Preview:
    """Return what :func:`run_again` would do, without doing it. Raises what that does."""
    old, graph, choice = _decide(process, Way(way), path)
    rows = tuple(_preview_row(node_path, graph, old.get(node_path), choice) for node_path in graph.nodes)
    counts: Counter[str] = Counter()
    for row in rows:
        counts["runs"] += row.parts_run if row.fate == "partly" else row.fate == "runs"
        counts["reused"] += row.fate == "reused" and 1 + row.parts
        counts["reused"] += row.fate == "partly" and row.parts - row.parts_run
        counts["stale"] += row.fate == "stale"
    counts["reused"] += sum(old[one].parts - len(some) for one, some in choice.missing.items())
    return Preview(Way(way), path, rows, counts["runs"], counts["reused"], counts["stale"])


def retry_failed(process: Process, *, by: Any = None) -> Process:
    """Run what did not succeed, and what depends on it, as a new process, and return that (see :func:`run_again`)."""
    return run_again(process, Way.FAILED, by=by)


def rerun_from(process: Process, path: str, *, by: Any = None) -> Process:
    """Run a step and what depends on it as a new process, and return that (see :func:`run_again`).

    What else did not succeed runs too, so that all has when it ends.
    """
    return run_again(process, Way.FROM, path, by=by)


def run_step(process: Process, path: str, *, by: Any = None) -> Process:
    """Run a single step as a new process, and return that (see :func:`run_again`).

    What depends on it doesn't run, and is out of date from then on: the next run of that
    process runs it.
    """
    return run_again(process, Way.ONLY, path, by=by)


def run_again(process: Process, way: Way | str, path: str = "", *, by: Any = None) -> Process:
    """Run a workflow that has ended again, as far as ``way`` says, as a new process, and return that.

    ``path`` is that of a step, ``#.load.index``, or of a sub-step, ``#.load[3]``. While there
    is an active process that runs it again, that is returned: a double click is harmless.

    Raises ``StepNotFound`` for a path that isn't there, ``ProcessActive`` before it has ended,
    ``NothingFailed``, ``StepNotReady`` for a step that can't run by itself, and
    ``RetryNotPossible`` for what is no workflow, or one that isn't defined here or no longer
    takes the arguments that it was started with.
    """
    way = Way(way)
    process._expire_if_overdue()
    _, graph, choice = _decide(process, way, path)
    noted = {"way": way.value, **({"path": path} if way.takes_path else {})}
    again: Process = process.__class__.objects.db_manager(process._using).start_again(
        process, by=by, plan=partial(take_over, graph, choice, process, noted), noted=noted
    )
    return again


def _decide(process: Process, way: Way, path: str) -> tuple[Mapping[str, Step], Graph, Choice]:
    row = Process.objects.using(process._using).get(pk=process.pk)
    if not row.workflow:
        raise RetryNotPossible("This process is no workflow, so it has no steps that could run again; use retry().")
    if not row.is_finished:
        raise ProcessActive
    graph: Graph = plan_again(row, lambda name, kwargs: registry.find(name).checked(kwargs))
    steps = Step.objects.using(process._using).filter(process=process.pk)
    old = {step.path: step for step in steps.planned().defer("result", "description", "feeds", "error")}
    failed_parts: dict[str, set[int]] = defaultdict(set)
    for parent, index in steps.exclude(index=None).exclude(status__in=GOOD).values_list("parent_path", "index"):
        failed_parts[parent].add(index or 0)
    return old, graph, choose(graph, old, failed_parts, way, path)


def _preview_row(path: str, graph: Graph, old: Step | None, choice: Choice) -> PreviewRow:
    node = graph.nodes[path]
    if path in choice.parts:
        fate = "partly"
    elif path in choice.whole:
        fate = "runs"
    else:
        fate = "stale" if path in choice.stale else "reused"
    return PreviewRow(
        path=path,
        title=node.step.title,
        depth=path.count(".") - 1,
        fate=fate,
        parts=old.parts if old else 0,
        parts_run=len(choice.parts.get(path, ())),
        status=old.status if old else "",
    )
