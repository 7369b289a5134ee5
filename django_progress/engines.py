"""Where whatever executes tasks registers itself, so that nothing below has to import it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from django.core.exceptions import ImproperlyConfigured

__all__ = ["Engine", "get_engine", "register"]


class Engine(Protocol):
    """What is asked of an engine: to bring a message that names a process to a worker."""

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        """Send one message; never raise, never block for long.

        Return False where the broker can't be reached, so that it is tried again soon.
        """

    def together(self) -> AbstractContextManager[None]:
        """Send all that is published in the block on one connection, if there is any."""

    def is_eager(self) -> bool:
        """Say whether a published message is executed at once, in this thread."""

    def queue_for(self, task_name: str, options: dict[str, object]) -> str:
        """Return the name of the queue that messages for a task go to; "" where that can't be told."""

    def parameters(self, task_name: str) -> tuple[str, ...] | None:
        """Return the names of a task's positional parameters, without the process; None where they aren't known."""

    def messages(self, queue: str, most: int) -> Iterable[tuple[str, str]] | None:
        """Return (task id, key) of the first messages that wait in a queue, up to ``most``; take none.

        None where they can't be looked at without being taken. May raise when there is no connection.
        """

    def new_task_id(self) -> str:
        """Return an id for one execution."""


_engine: Engine | None = None


def register(engine: Engine | None) -> None:
    """Make ``engine`` the one that executes tasks."""
    global _engine
    _engine = engine


def get_engine() -> Engine:
    """Return the registered engine; ``ImproperlyConfigured`` where there is none."""
    if _engine is None:
        raise ImproperlyConfigured(
            'Nothing is registered that could execute tasks. Add "django_progress" to INSTALLED_APPS: '
            "it registers Celery when Django starts. Outside manage.py call django.setup() first."
        )
    return _engine
