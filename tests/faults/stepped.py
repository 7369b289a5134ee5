"""A workflow that has done all that one can, of which everything is said in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_progress.models import Process
from django_progress.workflows import Workflow
from tests.workflows.conftest import define
from tests.workflows.driving import execute, execution, statuses

__all__ = ["define", "stepped"]


def stepped(define: Callable[..., Workflow], owner: Any, words: str) -> list[Process]:
    """Start one and execute its steps; return its process and those of a part and of a failure."""
    workflow = define(description=words)

    def load(step: Process, item: str) -> dict[str, str]:
        step.set_message(words[:80], words)
        return {item: item}

    def fail(step: Process) -> None:
        step.fail(words)

    said = {"description": words, "debug": lambda results: words, "on_complete": lambda result: words}
    workflow.step(name="load", each=lambda results: [words], **said)(load)
    workflow.step(name="skip", when=lambda results: False, **said)(fail)
    workflow.step(name="fail", on_failure="continue", **said)(fail)
    workflow.step(name="wait", **said)(fail)
    process = workflow.start(owner)
    execute(process, "#.load", "#.load[0]", "#.skip", "#.fail")
    assert sorted(statuses(process).values()) == ["failed", "queued", "skipped", "succeeded", "succeeded"]
    return [process, execution(process, "#.load[0]"), execution(process, "#.fail")]
