"""Executions without Celery: a task that only has a name, and what a worker does with a message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_progress import claiming, dispatch, execution
from django_progress.exceptions import ProcessStopped
from django_progress.models import Attempt, Process


class Work:
    """A task as start() sees it."""

    name = "tests.work"
    options: Mapping[str, Any] = {}

    def __init__(self, **declared: Any) -> None:
        self.declared = declared

    def check_arguments(self, args: Any, kwargs: Any) -> None:
        """Take any."""


def start(description: Any = "Work", **options: Any) -> Process:
    """Start a process that has a task."""
    return Process.objects.start(description, task=Work(), **options)


def claim(process: Process, **options: Any) -> execution.Execution:
    """Take it as a worker does that got its message."""
    row = Process.objects.get(pk=process.pk)
    executing = claiming.claim(str(row.key), task_id=row.task_id, **options)
    assert executing is not None
    return executing


@contextmanager
def inside(executing: execution.Execution) -> Iterator[Process]:
    """Be the body of an execution."""
    before = execution.current.set(executing)
    try:
        yield executing.process
    finally:
        execution.current.reset(before)


def execute(process: Process, body: Callable[[Process], Any], **options: Any) -> Exception | ProcessStopped | None:
    """Execute ``body`` for the process, settle how it ended, and return what was raised."""
    return settle(claim(process, **options), body)


def settle(executing: execution.Execution, body: Callable[[Process], Any]) -> Exception | ProcessStopped | None:
    with inside(executing) as process:
        try:
            value = body(process)
        except ProcessStopped as stop:
            dispatch.stopped(executing, stop)
            return stop
        except Exception as error:
            dispatch.raised(executing, error)
            return error
        return dispatch.returned(executing, value)


def fresh(process: Process) -> Process:
    """Read it again, as somebody else would."""
    return Process.objects.get(pk=process.pk)


def run_out(ago: float = 3600) -> None:
    """Let the leases of all attempts have run out ``ago`` seconds ago, and a sweep have doubted them since."""
    moment = timezone.now() - timedelta(seconds=ago)
    Attempt.objects.executing().update(lease_until=moment, doubted_at=moment)


def last_attempt(process: Process) -> Attempt:
    attempt = Attempt.objects.filter(process_id=process.pk).order_by("number").last()
    assert attempt is not None
    return attempt


def types(process: Process) -> list[str]:
    """Return the types of its events, in order."""
    return list(process.event_set.order_by("seq").values_list("type", flat=True))
