"""Where whatever executes tasks registers itself, so that nothing below has to import it."""

from __future__ import annotations

from typing import Protocol

from django.core.exceptions import ImproperlyConfigured

__all__ = ["Engine", "get_engine", "register"]


class Engine(Protocol):
    """What is asked of an engine: to bring a message that names a process to a worker."""

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        """Send one message. Return whether it was sent; never raise, never block for long."""

    def is_eager(self) -> bool:
        """Say whether a published message is executed at once, in this thread."""

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
