"""What tasks and workflows have in common: they are started for somebody, with options that can be changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self

from django.utils.functional import Promise

from .options import MESSAGE_OPTIONS, OPTIONS, STARTED_WITH, check_options

if TYPE_CHECKING:
    from .models import Process

__all__ = ["Plan", "Starter", "TaskLike", "WorkflowLike", "check_declared"]

Plan = Callable[["Process"], None]
"""Writes the steps of a workflow for its process, in the transaction of its start."""


class TaskLike(Protocol):
    """What start() needs to know of a task."""

    @property
    def name(self) -> str: ...
    @property
    def declared(self) -> Mapping[str, Any]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    def check_arguments(self, args: Any, kwargs: Any) -> None: ...


class WorkflowLike(Protocol):
    """What start() needs to know of a workflow."""

    @property
    def name(self) -> str: ...
    @property
    def declared(self) -> Mapping[str, Any]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    def plan(self, kwargs: Mapping[str, Any]) -> Plan: ...


class Starter:
    """Something that processes are started from."""

    declared: Mapping[str, Any]
    options: Mapping[str, Any]
    started_with: Mapping[str, Any]

    if TYPE_CHECKING:

        def start(self, for_whom: Any = None, /, *args: Any, **kwargs: Any) -> Process: ...

    async def astart(self, for_whom: Any = None, /, *args: Any, **kwargs: Any) -> Process:
        """Start a process from asynchronous code (see :meth:`start`)."""
        from asgiref.sync import sync_to_async

        return await sync_to_async(self.start)(for_whom, *args, **kwargs)

    def using(self, **changes: Any) -> Self:
        """Return the same with other options for what is started from it.

        Takes what ``progress_task`` declares, ``context``, ``idempotency_key`` and
        ``details``, and of Celery's options ``queue``, ``priority``, ``routing_key`` and
        ``exchange``. Raises ``TypeError`` for any other.
        """
        unknown = set(changes) - set(OPTIONS) - STARTED_WITH - MESSAGE_OPTIONS
        if unknown:
            raise TypeError(
                f"using() doesn't know {', '.join(sorted(unknown))}; "
                f"it takes {', '.join(sorted({*OPTIONS, *STARTED_WITH, *MESSAGE_OPTIONS}))}."
            )
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.declared = {**self.declared} | {name: value for name, value in changes.items() if name in OPTIONS}
        copy.options = {**self.options} | {name: value for name, value in changes.items() if name in MESSAGE_OPTIONS}
        copy.started_with = {**self.started_with} | {
            name: value for name, value in changes.items() if name in STARTED_WITH
        }
        check_declared(copy.declared)
        return copy

    @staticmethod
    def _whose(for_whom: Any) -> dict[str, Any]:
        # By what it has, so that a framework's own kind of request will do.
        if hasattr(for_whom, "META") and hasattr(for_whom, "headers"):
            return {"request": for_whom}
        if for_whom is not None and not hasattr(for_whom, "is_authenticated"):
            raise TypeError(
                f"start() takes for whom it is first: a request, a user or None, not {for_whom!r:.80}. "
                f"What the task is to work on comes after that."
            )
        return {"owner": for_whom}


def check_declared(declared: Mapping[str, Any]) -> None:
    """Check options while modules load: what is lazy, such as reverse_lazy(), only start() can look at."""
    check_options({name: value for name, value in declared.items() if not isinstance(value, Promise)})
