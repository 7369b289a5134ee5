"""What programs are told of the steps of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from .status import STEP_FAILED

if TYPE_CHECKING:
    from .models import Process, Step

__all__ = ["STEPS", "steps_of"]

STEPS = 500
"""How many steps of a workflow are told of."""
SHOWN = (
    "process", "path", "name", "index", "description", "description_params", "status", "is_reused", "fraction", "parts",
    "parts_left", "parts_failed", "started_at", "finished_at", "error", "execution",
)  # fmt: skip
OF_EXECUTION = ("key", "attempt_number", "max_attempts")


def steps_of(process: Process, most: int = STEPS) -> tuple[dict[str, Any], ...]:
    """Return what the JSON status tells of the steps of a workflow, in the order of their definition.

    Sub-steps, which may be thousands, are only counted. No query for any other process, one for a workflow.
    """
    if not process.workflow:
        return ()
    steps = process.steps.using(process._using).planned().select_related("execution").order_by("position")
    return tuple(_told(step) for step in steps.only(*SHOWN, *(f"execution__{name}" for name in OF_EXECUTION))[:most])


def _told(step: Step) -> dict[str, Any]:
    executed = step.execution
    return {
        "id": str(executed.key) if executed is not None else None,
        "path": step.path,
        "description": step.title,
        "status": step.status,
        "reused": step.is_reused,
        # What failed counts as done where its workflow goes on: how far it really was isn't known any more.
        "percent": None if step.status in STEP_FAILED and step.fraction >= 1 else round(100 * step.fraction, 2),
        "parts": {"total": step.parts, "left": step.parts_left, "failed": step.parts_failed} if step.parts else None,
        "attempt": {"number": executed.attempt_number, "max": executed.max_attempts} if executed is not None else None,
        "started_at": step.started_at and step.started_at.isoformat(),
        "finished_at": step.finished_at and step.finished_at.isoformat(),
        "error": errors.shown(step.error) or None,
    }
