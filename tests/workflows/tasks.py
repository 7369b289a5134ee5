"""A workflow for real workers: it notes what it does where no fault reaches."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django_progress.models import Process
from django_progress.workflows import Workflow

chunks = Workflow("tests-chunks", max_attempts=5)


def note(journal: str, step: Process) -> None:
    with Path(journal).open("a") as file:
        file.write(f"{step.pk} {step.executions} {os.getpid()} {step.step.path}\n")


@chunks.step
def check(step: Process, journal: str, width: int) -> list[int]:
    note(journal, step)
    return list(range(width))


@chunks.step(weight=5, each=lambda results: results["check"])
def load(step: Process, chunk: int, journal: str, pause: float = 0.0, broken: str = "") -> int:
    note(journal, step)
    if broken and Path(broken).read_text() == str(chunk):
        raise ValueError(chunk)
    for _ in step.track(range(5)):
        time.sleep(pause / 5)
    return chunk * 2


@load.step
def index(step: Process, results: Any, journal: str) -> int:
    note(journal, step)
    return sum(results["load"])


@chunks.step
def report(step: Process, results: Any, journal: str) -> dict[str, int]:
    note(journal, step)
    return {"sum": results["index"], "parts": len(results["load"])}
