"""What the processes do. Each body notes that it began, what it has committed and that it returned."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from django.db import transaction

from benchmarks.chaos.journal import note
from django_progress.models import Process
from django_progress.tasks import ProgressTask, progress_task


def chaotic(**options: Any) -> Callable[[Callable[..., Any]], ProgressTask]:
    """Make a task whose body is noted."""

    def decorate(function: Callable[..., Any]) -> ProgressTask:
        @functools.wraps(function)
        def body(process: Process, *args: Any, **kwargs: Any) -> Any:
            execution = process.executions
            note("begun", process.pk, execution, process.last_milestone.name)
            value = function(process, *args, **kwargs)
            note("ended", process.pk, execution, process.last_milestone.name)
            return value

        return progress_task(name=f"chaos.{function.__name__}", kind=function.__name__, **options)(body)

    return decorate


def reach(process: Process, name: str) -> None:
    """Reach a milestone that tells the execution; once it is noted, it must never be lost."""
    name = f"{name}.{process.executions}"
    process.milestone(name)
    note("reached", process.pk, process.executions, name)


@chaotic(max_attempts=6)
def steps(process: Process, seconds: float) -> int:
    """Milestones, numbers and messages, the ordinary thing."""
    reach(process, "counting")
    for number in process.track(range(20), total=20, unit="rows"):
        time.sleep(seconds / 20)
        if number % 5 == 0:
            process.set_message("Row", str(number))
    process.log("All counted.")
    reach(process, "counted")
    return process.executions


@chaotic(max_attempts=1)
def once(process: Process, seconds: float) -> int:
    """What must not be begun a second time."""
    reach(process, "only")
    time.sleep(seconds)
    process.advance()
    return process.executions


def hand_on(process: Process, seconds: float) -> int | None:
    leg = process.last_milestone.name.partition(".")[0]
    time.sleep(seconds / 3)
    following = {"started": "second", "second": "third"}.get(leg)
    reach(process, following or "done-with-it")
    if following is None:
        return process.executions
    process.requeue()
    return None


@chaotic(max_attempts=5)
def handing(process: Process, seconds: float) -> int | None:
    """Three executions, each of which may be tried again."""
    return hand_on(process, seconds)


@chaotic(max_attempts=1)
def handing_once(process: Process, seconds: float) -> int | None:
    """Three executions, none of which may be."""
    return hand_on(process, seconds)


@chaotic(max_attempts=8, retry_delay=0.3)
def flaky(process: Process, seconds: float) -> int | None:
    """Fail, and be tried again after a while."""
    time.sleep(seconds / 2)
    good = process.attempt_number >= 3
    process.attempt(lambda: good)
    return process.executions if good else None


@chaotic(max_attempts=2)
def failing(process: Process, seconds: float) -> None:
    """Fail every time."""
    reach(process, "before")
    time.sleep(seconds / 2)
    raise ConnectionError("not today")


@chaotic(max_attempts=6)
def inside(process: Process, seconds: float) -> int:
    """Report from inside a transaction of the body's own."""
    with transaction.atomic():
        for number in range(5):
            process.set_message("Row", str(number))
            process.advance()
            time.sleep(seconds / 20)
        name = f"inside.{process.executions}"
        process.milestone(name)
        process.log("About to commit.")
    note("reached", process.pk, process.executions, name)
    return process.executions


@chaotic(max_attempts=6)
def patient(process: Process, seconds: float) -> int:
    """Go on until somebody cancels it."""
    reach(process, "waiting")
    end = time.monotonic() + 120
    while time.monotonic() < end:
        process.checkpoint()
        time.sleep(0.1)
    return process.executions


@chaotic(max_attempts=1)
def long(process: Process, seconds: float) -> int:
    """Be silent for longer than a lease; the heartbeat speaks for it."""
    reach(process, "silent")
    time.sleep(5 + seconds)
    return process.executions


@chaotic(max_attempts=6, max_duration=2)
def overdue(process: Process, seconds: float) -> int:
    """Go on past the deadline."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        process.advance()
        process.checkpoint()
        time.sleep(0.1)
    return process.executions


@chaotic(max_attempts=2, attempt_timeout=1)
def hanging(process: Process, seconds: float) -> int:
    """Say nothing for longer than an attempt may take; what it says then must not count."""
    time.sleep(6)
    reach(process, "too-late")
    return process.executions
