"""By what the streams of all server processes are woken when a process changes.

``WAKE_UPS`` chooses the adapter. Whatever it is, it only brings words (see ``nudges.py``);
what changed is read from the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol, cast

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..conf import NAME, settings

__all__ = ["SCHEMES", "DatabaseWakeUps", "WakeUps", "adapter", "configured"]

SCHEMES = dict.fromkeys(("redis", "rediss", "unix"), "django_progress.push.redis.RedisWakeUps")
"""Where the class is that takes an address with such a scheme."""
EXAMPLE = 'Give the address of a Redis, like "redis://localhost:6379/0".'


class WakeUps(Protocol):
    """What brings words from whoever writes to whoever waits."""

    has_channel: bool
    """Whether words arrive at all; where they don't, the database is looked at often."""

    def send(self, words: Collection[str]) -> None:
        """Bring words to all who listen. May raise; waits a second at most for each step."""

    async def listen(self, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        """Call ``heard`` with each word, until cancelled; connect again by itself.

        ``lost`` is called whenever words may have been missed: once it listens, again after each
        connection that broke, and at each try while there is none. Neither may raise or block.
        """


class DatabaseWakeUps:
    """No channel: whoever waits looks at the database every ``WATCH_INTERVAL``."""

    has_channel = False

    def send(self, words: Collection[str]) -> None:
        """Leave it at what is committed."""

    async def listen(self, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        """Hear nothing."""
        lost()
        await asyncio.get_running_loop().create_future()


def configured() -> WakeUps:
    """Return a new adapter of the kind that ``WAKE_UPS`` asks for. Raises ``ImproperlyConfigured``."""
    chosen = settings.WAKE_UPS
    if not chosen:
        return DatabaseWakeUps()
    found = adapter(chosen)
    try:
        return cast(WakeUps, found(chosen) if "://" in chosen else found())
    except Exception as error:
        scheme, is_address, _ = chosen.partition("://")
        if is_address:
            # Neither the address nor what the client says of it: there may be a password in them.
            wrong = f"is an address of {scheme!r} that its client doesn't take ({type(error).__name__}).\n{EXAMPLE}"
        else:
            wrong = f"is {chosen!r}, which can't be called without arguments: {error!r}.\nRead what it needs itself."
        raise ImproperlyConfigured(f"{NAME}['WAKE_UPS'] {wrong}") from error


def adapter(chosen: str) -> Callable[..., object]:
    """Return the class for an address or a dotted path.

    Raises ``ImproperlyConfigured``, which says in its first line what is wrong and in its second what to do.
    """
    scheme, is_address, _ = chosen.partition("://")
    if is_address and scheme not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise ImproperlyConfigured(
            f"{NAME}['WAKE_UPS'] is an address of {scheme!r}.\n"
            f"Known are {known}; for anything else give the dotted path of a class of your own."
        )
    try:
        found = import_string(SCHEMES[scheme] if is_address else chosen)
    except ImportError as error:
        if is_address:
            raise ImproperlyConfigured(
                f"{NAME}['WAKE_UPS'] is an address of Redis, and its client can't be imported ({error}).\n"
                "Install django-progress-fragments[redis]."
            ) from error
        raise ImproperlyConfigured(
            f"{NAME}['WAKE_UPS'] is {chosen!r}, which can't be imported ({error}).\n"
            f"{EXAMPLE} Or give the dotted path of a class of your own."
        ) from error
    missing = [name for name in ("has_channel", "send", "listen") if not hasattr(found, name)]
    if not isinstance(found, type) or missing:
        raise ImproperlyConfigured(
            f"{NAME}['WAKE_UPS'] is {chosen!r}, which is no class with has_channel, send() and listen().\n"
            "See django_progress.push.wakeups.WakeUps."
        )
    return found
