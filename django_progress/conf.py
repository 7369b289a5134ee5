"""The settings: one dict, ``DJANGO_PROGRESS``, read live so that ``override_settings`` works."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings as django_settings

__all__ = ["Defaults", "settings"]

NAME = "DJANGO_PROGRESS"


@dataclass(frozen=True)
class Defaults:
    """Every key that ``DJANGO_PROGRESS`` may have, with its default. Durations are in seconds."""

    # How the work is handed to workers.
    LEASE: float = 60.0
    """How long an attempt may be silent before its worker is taken for dead."""
    HEARTBEAT: float = 10.0
    """How often a worker renews the leases of its attempts."""
    SWEEP_INTERVAL: float = 1.0
    """How often each worker looks for due, expired and lost processes; 0 turns it off."""
    REPUBLISH_AFTER: float = 60.0
    """When a message that nobody took is published again; doubles each time, up to an hour."""
    PUBLISH_TIMEOUT: float = 1.0
    """How long one socket operation towards the broker may take."""
    # What is kept.
    KEEP_FINISHED: float = 30 * 86400.0
    """How long finished processes are kept; 0 keeps them for ever."""
    MAX_EVENTS: int = 10_000
    """Events of one process past which log lines and numbers are no longer recorded."""
    MAX_TEXT: int = 2_000
    """Characters of a description, message or log line; longer ones are cut, with a mark."""
    MAX_JSON: int = 1_000_000
    """Bytes of one JSON value (result, context, details, arguments)."""
    MAX_MESSAGES: int = 50
    """Different keys that set_message() may hold at once."""
    # What people see.
    ALLOWED_REDIRECT_HOSTS: tuple[str, ...] = ()
    """Other hosts to which a process may lead."""
    PAGE_SIZE: int = 25
    """Processes on one page of "my processes"."""
    BASE_TEMPLATE: str = "django_progress/base.html"
    """The template that the app's own pages extend."""
    HTMX: str = "auto"
    """"auto": load htmx where the page has none; "none": the host's pages always bring it."""
    POLL_INTERVALS: tuple[float, ...] = (1.0, 2.0, 5.0)
    """Seconds between polls at first, after 10 s, and after a minute."""


class Settings:
    """Look a setting up in ``DJANGO_PROGRESS``, else in :class:`Defaults`.

    Raises ``AttributeError`` for a name that is no setting.
    """

    def __getattr__(self, name: str) -> Any:
        default = getattr(Defaults, name)
        value = self.given().get(name, default)
        return tuple(value) if isinstance(default, tuple) else value

    @staticmethod
    def given() -> dict[str, Any]:
        return getattr(django_settings, NAME, None) or {}

    @staticmethod
    def names() -> list[str]:
        return [field.name for field in fields(Defaults)]


settings = Settings()
