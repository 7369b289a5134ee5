"""From a definition to rows: what is to be done is written down when a workflow starts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from django.db import connections, transaction

from .. import clock, engines
from ..clock import DatabaseNow
from ..conf import settings
from ..models import Event, Process, Step
from ..starting import AGAIN_AFTER, STARTED_TEXT, publish
from ..status import STEP_OVER, Status, StepStatus
from .graph import Graph, Node

__all__ = ["BATCH", "FULL", "STEP_TASK", "begin", "freeze", "frozen", "part", "queue"]

STEP_TASK = "django_progress.step"
"""The name of the task that executes steps."""
FULL = 100.0
"""What all weights of a workflow add up to."""
BATCH = 500
"""Rows that are written in one statement."""
PLANNINGS = 3
"""How often a worker may be lost while the items of a parallel step are being listed."""
SETTINGS = ("max_attempts", "retry_delay", "attempt_timeout")

_announcing: ContextVar[dict[int, deque[Process]] | None] = ContextVar("django_progress_announcing", default=None)


def freeze(graph: Graph, process: Process) -> None:
    """Write the steps of a workflow that is just being started, and queue those that wait for nothing."""
    begin(process, frozen(graph, process))


def frozen(graph: Graph, process: Process) -> list[Step]:
    """Return the steps of a workflow as its definition has them, not written yet."""
    whole = sum(node.step.weight for node in graph.nodes.values())
    return [_frozen(node, position, whole, process) for position, node in enumerate(graph.nodes.values())]


def begin(process: Process, steps: list[Step]) -> None:
    """Write the steps of a workflow that is just being started, and queue those that wait for nothing."""
    total = FULL if any(step.weight for step in steps) else None
    known = {
        "steps_left": sum(
            step.parent_path == "#" and (step.status not in STEP_OVER or step.children_left > 0) for step in steps
        ),
        "total": total,
        "initial_total": total,
        "current": min(FULL, sum(step.weight * step.fraction for step in steps)),
        "unit": "%" if total else "",
    }
    for name, value in known.items():
        setattr(process, name, value)
    Process.objects.using(process._using).filter(pk=process.pk).update(**known)
    queue(process, [step for step in steps if step.status == StepStatus.INACTIVE and not step.blockers])
    Step.objects.using(process._using).bulk_create(steps, batch_size=BATCH)


def queue(process: Process, steps: Iterable[Step]) -> None:
    """Give each of ``steps`` the process that executes it. The rows of the steps are the caller's to write."""
    steps = list(steps)
    if not steps:
        return
    using, engine = process._using, engines.get_engine()
    now = clock.read(using)
    queues: dict[str, str] = {}
    children = []
    for step in steps:
        chosen = step.options
        options: dict[str, Any] = {**process.task_options}
        if "queue" in chosen:
            options = {"queue": chosen["queue"]}
        named = str(sorted(options.items()))
        if named not in queues:
            queues[named] = engine.queue_for(STEP_TASK, dict(options))
        attempts = max(PLANNINGS, chosen["max_attempts"]) if chosen["each"] else chosen["max_attempts"]
        children.append(
            Process(
                key=uuid4(),
                parent=process,
                kind=process.kind,
                description=step.description or step.name,
                description_params=step.description_params,
                status=Status.PENDING.value,
                last_seq=1,
                revision=1,
                milestone_name="started",
                milestone_message=STARTED_TEXT,
                milestone_params={},
                task_name=STEP_TASK,
                task_args=[chosen["item"]] if step.is_part else [],
                task_options=options,
                task_id=engine.new_task_id(),
                queue=queues[named],
                max_attempts=attempts,
                retry_delay=chosen["retry_delay"],
                attempt_timeout=chosen["attempt_timeout"],
                lease=process.lease,
                created_at=now,
                updated_at=now,
                due_at=now + timedelta(seconds=settings.REPUBLISH_AFTER),
                publish_count=1,
            )
        )
    # All databases that are supported return the keys of what is inserted so.
    Process.objects.using(using).bulk_create(children, batch_size=BATCH)
    Event.objects.using(using).bulk_create(
        [
            Event(
                process_id=child.pk,
                seq=1,
                type="milestone",
                name="started",
                message=STARTED_TEXT,
                translatable=True,
                happened_at=now,
            )
            for child in children
        ],
        batch_size=BATCH,
    )
    for step, child in zip(steps, children, strict=True):
        step.execution, step.status, step.queued_at = child, StepStatus.QUEUED.value, now
    process._on_commit(partial(_announce, process.pk, children))


def _announce(pk: int, children: list[Process]) -> None:
    """Send the messages for steps that were queued, one after another.

    Where Celery executes at once, whatever follows from a step is queued while this loop
    runs, and executed by it: a chain of a thousand steps is no recursion.
    """
    running = _announcing.get() or {}
    if pk in running:
        running[pk].extend(children)
        return
    waiting = deque(children)
    before = _announcing.set({**running, pk: waiting})
    try:
        with engines.get_engine().together():
            while waiting:
                if not publish(waiting.popleft()):
                    _put_off(list(waiting))
                    break
    finally:
        _announcing.reset(before)


def _put_off(children: list[Process]) -> None:
    """Let the sweep send the messages for these soon: who waits can't ask a broker that is down thousands of times."""
    for first in range(0, len(children), BATCH):
        using = children[first]._using
        skip = connections[using].features.has_select_for_update_skip_locked
        # They were queued, and nothing has happened to them since.
        waiting = Process.objects.using(using).filter(status=Status.PENDING, executions=0, publish_count=1)
        with transaction.atomic(using=using):
            rows = waiting.filter(pk__in=[child.pk for child in children[first : first + BATCH]])
            free = list(rows.select_for_update(skip_locked=skip).values_list("pk", flat=True))
            waiting.filter(pk__in=free).update(due_at=DatabaseNow(min(AGAIN_AFTER, settings.REPUBLISH_AFTER)))


def _frozen(node: Node, position: int, whole: float, process: Process) -> Step:
    step = node.step
    return Step(
        process=process,
        path=node.path,
        name=step.name,
        position=position,
        parent_path=node.parent,
        description=step.description,
        description_params=step.description_params,
        options={
            **{name: getattr(process, name) for name in SETTINGS},
            **step.settings,
            "each": step.each is not None,
            "on_failure": step.on_failure,
        },
        weight=FULL * step.weight / whole if whole else 0.0,
        waits_for=[*([node.parent] if node.parent != "#" else []), *node.after],
        feeds=node.feeds,
        blockers=len(node.after) + (node.parent != "#"),
        children_left=node.children,
    )


def part(step: Step, index: int, item: Any) -> Step:
    """Return one of the sub-steps of a step, not written yet; ``step.parts`` is how many there are."""
    options = {name: value for name, value in step.options.items() if name != "each"}
    return Step(
        process=step.process,
        path=f"{step.path}[{index}]",
        name=step.name,
        index=index,
        position=step.position,
        parent_path=step.path,
        description=step.description,
        description_params=step.description_params,
        options={**options, "each": False, "item": item},
        weight=step.weight / step.parts,
    )
