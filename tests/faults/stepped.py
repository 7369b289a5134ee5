"""Workflows that have done all that one can, of which everything is said in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_progress.models import Process
from django_progress.workflows import Workflow
from tests.executing import fresh
from tests.workflows.conftest import define
from tests.workflows.driving import execute, execution, statuses

__all__ = ["define", "stepped"]


def stepped(define: Callable[..., Workflow], owner: Any, words: str) -> list[Process]:
    """Start two, of which one ends; return their processes and those of a part and of a failure."""
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
    active, ended = workflow.start(owner), workflow.start(owner)
    for process in (active, ended):
        execute(process, "#.load", "#.load[0]", "#.skip", "#.fail")
    execute(ended, "#.wait")
    assert sorted(statuses(active).values()) == ["failed", "queued", "skipped", "succeeded", "succeeded"]
    assert fresh(ended).status == "failed"
    return [active, ended, execution(active, "#.load[0]"), execution(active, "#.fail")]
