"""From a finished run of a workflow to the rows of another one, which takes over what is still good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..models import Event, Process, Step
from ..status import StepStatus
from . import freezing
from .graph import Graph
from .reuse import Choice, Way

__all__ = ["take_over"]

RESULTS = ("status", "condition", "result", "error", "queued_at", "started_at", "finished_at", "parts")
"""What is copied of a step that doesn't run."""


def take_over(graph: Graph, choice: Choice, old: Process, noted: Mapping[str, Any], process: Process) -> None:
    """Write the steps of a workflow that is just being started again, and queue those that wait for nothing."""
    steps = {step.path: step for step in freezing.frozen(graph, process)}
    if noted["way"] == Way.ONLY:
        _weigh(steps, choice)
    paths = list(steps.keys() - choice.whole)
    for first in range(0, len(paths), freezing.BATCH):
        for row in _rows(old).filter(path__in=paths[first : first + freezing.BATCH]):
            _overlay(steps[row.path], row, choice)
    for step in steps.values():
        if step.path in choice.stale:
            step.status, step.fraction = StepStatus.STALE.value, 1.0
        elif step.path not in choice.moving and step.status in (StepStatus.INACTIVE, StepStatus.STALE):
            _skip(step, steps[step.parent_path])
    _count(graph, steps, choice)
    Event.objects.using(process._using).filter(process=process.pk, seq=1).update(details=dict(noted))
    freezing.begin(process, list(steps.values()))
    for path, step in steps.items():
        if step.parts:
            _copy_parts(step, _rows(old).filter(parent_path=path), choice)


def _rows(old: Process) -> Any:
    return Step.objects.using(old._using).filter(process=old.pk).order_by("position", "index")


def _weigh(steps: Mapping[str, Step], choice: Choice) -> None:
    """Let the bar be that of the only step that runs."""
    for path, step in steps.items():
        step.weight = freezing.FULL if path in choice.moving else 0.0


def _overlay(step: Step, row: Step, choice: Choice) -> None:
    """Fill in what is known already of a step."""
    for name in RESULTS:
        setattr(step, name, getattr(row, name))
    step.source_id, step.fraction = row.source_id or row.pk, 1.0
    step.is_reused = step.path not in choice.stale and step.path not in choice.parts
    if step.path in choice.parts:
        again = len(choice.parts[step.path])
        step.status, step.result, step.finished_at = StepStatus.RUNNING.value, None, None
        # It takes as long as what runs of it now does, and not the days since it ran last.
        step.started_at = step.process.created_at
        step.error, step.parts_left, step.fraction = "", again, 1 - again / row.parts


def _skip(step: Step, above: Step) -> None:
    """Skip what belongs to a step that was skipped: the definition has gained it since, or it was out of date."""
    step.status, step.is_reused, step.fraction = StepStatus.SKIPPED.value, True, 1.0
    step.condition, step.result, step.error, step.parts = None, None, "", 0
    step.queued_at, step.started_at, step.finished_at = None, None, above.finished_at


def _count(graph: Graph, steps: Mapping[str, Step], choice: Choice) -> None:
    """Count what each step waits for, of what is to run."""
    open_under = dict.fromkeys(graph.nodes, 0)
    for path, node in reversed(graph.nodes.items()):
        if (path in choice.moving or open_under[path]) and node.parent != "#":
            open_under[node.parent] += 1
    for path, node in graph.nodes.items():
        step = steps[path]
        step.children_left = open_under[path]
        step.blockers = 0
        if path in choice.whole:
            open_before = sum(other in choice.moving or open_under[other] > 0 for other in node.after)
            step.blockers = open_before + (node.parent in choice.moving)


def _copy_parts(step: Step, rows: Any, choice: Choice) -> None:
    """Write the sub-steps of a step whose list of items is kept."""
    for first in range(0, step.parts, freezing.BATCH):
        parts = list(_parts(step, rows.filter(index__gte=first, index__lt=first + freezing.BATCH), choice))
        freezing.queue(step.process, [part for part in parts if part.status == StepStatus.INACTIVE])
        Step.objects.using(step.process._using).bulk_create(parts, batch_size=freezing.BATCH)


def _parts(step: Step, rows: Iterable[Step], choice: Choice) -> Iterator[Step]:
    again = choice.parts.get(step.path, frozenset())
    missing = choice.missing.get(step.path)
    for row in rows:
        assert row.index is not None
        part = freezing.part(step, row.index, row.options["item"])
        if row.index not in again:
            for name in RESULTS:
                setattr(part, name, getattr(row, name))
            part.source_id, part.fraction = row.source_id or row.pk, 1.0
            part.is_reused = step.path not in choice.stale or (missing is not None and row.index not in missing)
            if not part.is_reused:
                part.status = StepStatus.STALE.value
        yield part
