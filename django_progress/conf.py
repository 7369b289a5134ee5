"""The settings: one dict, ``DJANGO_PROGRESS``, read live so that ``override_settings`` works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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
    KINDS: dict[str, dict[str, float]] = field(default_factory=dict)
    """LEASE and HEARTBEAT for processes of one kind: ``{"video": {"LEASE": 300, "HEARTBEAT": 30}}``."""
    SWEEP_INTERVAL: float = 1.0
    """How often each worker looks for due, expired and lost processes; 0 turns it off."""
    REPUBLISH_AFTER: float = 60.0
    """When a message that nobody took is published again; doubles each time, up to an hour."""
    PUBLISH_TIMEOUT: float = 1.0
    """How long one socket operation towards the broker may take."""
    # Who sees what.
    ACCESS_POLICY: str = "django_progress.access.Policy"
    """The class that says who may view and control which process."""
    SHARE_LINK_AGE: float = 7 * 86400.0
    """How long a link works for which no other time is given."""
    PUBLIC_EXCEPTIONS: tuple[str, ...] = ()
    """Exceptions whose message may be shown to people: dotted paths of classes, for instance of your own."""
    REDACTED_KEYS: tuple[str, ...] = (
        "password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "credential", "private_key",
    )  # fmt: skip
    """Parts of keys whose values the admin hides in arguments, context and details; stored they stay whole."""
    KEEP_AUDIT: float = 365 * 86400.0
    """How long it is kept who did what; 0 keeps it for ever."""
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
    REPORT_INTERVAL: float = 0.5
    """Between two writes of numbers, which are gathered meanwhile."""
    PROGRESS_EVENT_INTERVAL: float = 5.0
    """Between two events that numbers become."""
    EVENTS_PAGE_SIZE: int = 500
    """Events that one answer of the API holds at most."""
    # How others hear of changes.
    STREAMS: str = "auto"
    """"auto": pages served by ASGI are kept up to date by a stream; "always"; "never": pages only poll."""
    WAKE_UPS: str = ""
    """By what streams are woken: a Redis address ("redis://…"), or a class of your own; "" asks the database."""
    WATCH_INTERVAL: float = 0.5
    """Between two looks at the database for all that streams watch, where nothing wakes them."""
    STREAM_LIFETIME: float = 300.0
    """After which a stream ends, and its reader comes back; the more or less of it is drawn by lot."""
    STREAM_KEEP_ALIVE: float = 15.0
    """Of silence on a stream after which something is sent that says nothing."""
    MAX_STREAMS: int = 2_000
    """Streams that one server process keeps open; whoever comes after them polls."""
    LONG_POLL: float = 30.0
    """How long an answer may wait for an event that somebody asks for with "wait"."""
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


DEFAULTS: dict[str, Any] = vars(Defaults())
OF_KIND = ("LEASE", "HEARTBEAT")
"""What ``KINDS`` may set."""


class Settings:
    """Look a setting up in ``DJANGO_PROGRESS``, else in :class:`Defaults`.

    Raises ``AttributeError`` for a name that is no setting.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(f"{NAME} has no setting {name!r}.")
        default = DEFAULTS[name]
        value = self.given().get(name, default)
        return tuple(value) if isinstance(default, tuple) else value

    def of_kind(self, kind: str, name: str) -> Any:
        """Look ``name`` up for processes of one kind."""
        own: Mapping[str, Any] = self.KINDS.get(kind) or {}
        return own[name] if name in own else getattr(self, name)

    @staticmethod
    def given() -> dict[str, Any]:
        return getattr(django_settings, NAME, None) or {}

    @staticmethod
    def names() -> list[str]:
        return [field.name for field in fields(Defaults)]


settings = Settings()
