"""Where whatever makes one process out of several registers itself, so that nothing below has to import it.

A process that is one step of a workflow has a parent; a workflow's own has the name of
the workflow. For every other process none of this is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from django.db import DatabaseError

from .exceptions import RetryNotPossible

__all__ = ["Coordinator", "get_coordinator", "plan_again", "register"]

P = TypeVar("P")

logger = logging.getLogger("django_progress")


class Coordinator(Protocol):
    """What is told of the processes that belong together. The parent's row is locked whenever it is."""

    def may_begin(self, process: Any) -> bool:
        """Lock the workflow of a step that is about to be claimed, and return whether it still goes on."""

    def began(self, process: Any) -> None:
        """Note that a step was claimed, in the transaction of the claim."""

    def ended(self, process: Any) -> None:
        """Do what follows from the end of a step, or of a workflow, in the transaction of that end.

        The ``parent`` of a step is its workflow as it is now.
        """

    def reported(self, process: Any) -> None:
        """Pass on how far a step is, and that it has news, after what it reported was committed; nothing is locked."""

    def wind_up(self, process: Any) -> bool:
        """Stop what still executes of a workflow that has ended; return whether nothing does any more."""

    def plan(self, name: str, kwargs: Mapping[str, Any]) -> Callable[[Any], None]:
        """Return what writes the steps of the workflow of that name for a new process."""


_coordinator: Coordinator | None = None


def register(coordinator: Coordinator) -> None:
    """Make ``coordinator`` the one that is told."""
    global _coordinator
    _coordinator = coordinator


def get_coordinator() -> Coordinator:
    """Return the registered one."""
    if _coordinator is None:
        raise RuntimeError("django_progress is not set up; call django.setup() first.")
    return _coordinator


def plan_again(process: Any, plan: Callable[[str, Mapping[str, Any]], P] | None = None) -> P | Any:
    """Return the plan of a workflow for the arguments it had; its definition may be another by now, or not be here."""
    try:
        return (plan or get_coordinator().plan)(process.workflow, process.task_kwargs)
    except DatabaseError:
        raise  # That says nothing about the workflow.
    except Exception as error:  # It may be built by a function of the project's, which may raise anything.
        # Pages and programs are told that it can't be done; why is for who runs the site.
        logger.warning("The workflow of process %s can't be started again.", process.key, exc_info=True)
        raise RetryNotPossible(
            "This workflow can't be started again as it was: it isn't defined here, or no longer takes what it was "
            "started with. Start a new one."
        ) from error
