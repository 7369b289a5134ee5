"""What a worker does for a step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .. import values
from ..models import Process, Step
from . import registry
from .arguments import arguments_of
from .definition import StepDefinition
from .freezing import STEP_TASK
from .results import Results

__all__ = ["STEP_TASK", "perform"]

logger = logging.getLogger("django_progress")


def perform(process: Process, *item: Any) -> Any:
    """Execute one step: its condition first, then its function, or the list of what to call that with."""
    using = process._using
    row = Step.objects.using(using).select_related("process").get(execution=process)
    row.execution, process.parent = process, row.process
    workflow = row.process
    step = registry.find_step(workflow, row.name)
    results = Results(workflow.pk, using)
    if not row.is_part and not _is_to_run(process, step, row, results):
        return None
    returned = step.function(process, *item, **arguments_of(step, workflow.task_kwargs, results))
    executing = process._execution()
    if step.on_complete is not None and not (executing and (executing.asked or executing.finished)):
        _say(process, lambda: step.on_complete(returned), "on_complete")  # type: ignore[misc]
    return returned


def _is_to_run(process: Process, step: StepDefinition, row: Step, results: Results) -> bool:
    """Decide what becomes of a step; what raises here would raise again, so that fails it without another attempt."""
    try:
        if not _shall_run(step, row, results):
            process.log(f"{row.path} is skipped: its condition is not met.")
            return False
        if step.debug is not None:
            _say(process, lambda: step.debug(results), "debug")  # type: ignore[misc]
        if not row.options["each"]:
            return True
        items = _items(step, row, results)
    except Exception as error:
        process.fail(error)
        raise
    process.succeed(items)
    return False


def _shall_run(step: StepDefinition, row: Step, results: Results) -> bool:
    """Ask the condition of a step, once: what it said is stored before anything is done."""
    if step.when is None:
        return True
    if row.condition is None:
        row.condition = bool(step.when(results))
        Step.objects.using(row._state.db).filter(pk=row.pk, condition=None).update(condition=row.condition)
    return row.condition


def _items(step: StepDefinition, row: Step, results: Results) -> list[Any]:
    assert step.each is not None
    found = step.each(results)
    if isinstance(found, (str, bytes, dict)) or not hasattr(found, "__iter__"):
        raise TypeError(f"each= of the step {row.name!r} must return a list of items, not {found!r:.80}.")
    items: list[Any] = values.as_json(list(found), f"What each= of the step {row.name!r} returned")
    return items


def _say(process: Process, speak: Callable[[], object], option: str) -> None:
    """Write a line to the step's log; that it can't be made is no reason for the step to fail."""
    try:
        text = speak()
    except Exception:
        logger.exception("%s= of a step of process %s raised an exception.", option, process.parent_id)
        process.log(f"{option}= raised an exception; see the worker's log.", level="warning")
    else:
        if text is not None:
            process.log(values.text(text, option))
