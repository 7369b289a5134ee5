"""Executing the steps of a workflow one by one, in the order that a test wants."""

from __future__ import annotations

from typing import Any

from django_progress.execution import Execution
from django_progress.models import Process, Step
from django_progress.status import Status, StepStatus
from django_progress.workflows.performing import perform
from tests import executing


def step(process: Process, path: str) -> Step:
    return Step.objects.select_related("execution").get(process=process, path=path)


def execution(process: Process, path: str) -> Process:
    """Return the process that executes a step."""
    found = step(process, path).execution
    assert found is not None
    return found


def body(process: Process) -> Any:
    return perform(process, *process.task_args)


def execute(process: Process, *paths: str) -> None:
    """Execute steps that are queued, one after another."""
    for path in paths:
        executing.execute(execution(process, path), body)


def take(process: Process, path: str) -> Execution:
    """Take a step as a worker does, without going on."""
    return executing.claim(execution(process, path))


def drain(process: Process) -> Process:
    """Execute whatever waits for a worker, until nothing does."""
    waiting = Step.objects.filter(process=process, execution__status=Status.PENDING)
    while process.__class__.objects.active().filter(pk=process.pk).exists() and (first := waiting.first()):
        execute(process, first.path)
    return executing.fresh(process)


def statuses(process: Process, *wanted: str) -> dict[str, str]:
    """Return how the steps stand, by their paths, in order."""
    rows = Step.objects.filter(process=process)
    if wanted:
        rows = rows.filter(status__in=wanted)
    return dict(rows.values_list("path", "status"))


def queued(process: Process) -> list[str]:
    return list(statuses(process, StepStatus.QUEUED))


def log(process: Process, path: str) -> list[str]:
    """Return what was written to the log of a step."""
    return [event.text for event in execution(process, path).event_set.filter(type="log")]
