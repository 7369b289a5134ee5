"""What programs are told of the steps of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .models import Process

__all__ = ["STEPS", "steps_of"]

STEPS = 500
"""How many steps of a workflow are told of."""


def steps_of(process: Process, most: int = STEPS) -> tuple[dict[str, Any], ...]:
    """Return what the JSON status tells of the steps of a workflow, in the order of their definition.

    Sub-steps, which may be thousands, are only counted. No query for any other process, one for a workflow.
    """
    if not process.workflow:
        return ()
    steps = process.steps.using(process._using).planned().order_by("position")
    return tuple(
        {
            "path": step.path,
            "description": step.title,
            "status": step.status,
            "percent": round(100 * step.fraction, 2),
            "parts": {"total": step.parts, "left": step.parts_left} if step.parts else None,
            "started_at": step.started_at and step.started_at.isoformat(),
            "finished_at": step.finished_at and step.finished_at.isoformat(),
            "error": errors.shown(step.error) or None,
        }
        for step in steps.defer("result", "options")[:most]
    )
