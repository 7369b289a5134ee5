"""Wake-ups by Redis: one channel, on which whoever writes publishes and every server process listens.

Words are neither stored nor acknowledged. Pub/sub takes no notice of a database's number: sites
that share a server hear each other's words, and look once too often.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = ["CHANNEL", "RedisWakeUps"]

logger = logging.getLogger("django_progress")

CHANNEL = "django_progress"
PATIENCE = 1.0
"""Seconds that one socket operation may take."""
QUIET = 10.0
"""Seconds of silence after which a listener asks whether the server is still there."""
SHORTEST, LONGEST = 0.05, 1.0
"""Seconds between two tries to connect; they double."""
AT_ONCE = 500
"""Words in one message."""


class RedisWakeUps:
    """Redis at an address that redis-py understands: ``redis://``, ``rediss://``, ``unix://``."""

    has_channel = True

    def __init__(self, address: str) -> None:
        self._address = address
        self._options: dict[str, Any] = {"socket_timeout": PATIENCE}
        if not address.startswith("unix:"):
            self._options |= {"socket_connect_timeout": PATIENCE, "socket_keepalive": True}
        # A connection that the server closed meanwhile is replaced before it is used; nothing else is tried twice.
        self._client = redis.Redis.from_url(address, retry=Retry(NoBackoff(), 0), **self._options)

    def send(self, words: Collection[str]) -> None:
        """Publish words to all who listen now."""
        left = iter(words)
        while some := list(islice(left, AT_ONCE)):
            self._client.publish(CHANNEL, "\n".join(some))

    async def listen(self, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        """Listen until cancelled, on one connection at a time."""
        loop = asyncio.get_running_loop()
        pause, is_told = SHORTEST, False
        while True:
            begun = loop.time()
            try:
                async with self._subscribed() as subscription:
                    if is_told:
                        logger.info("Wake-ups are heard again.")
                    is_told = False
                    lost()
                    await _hear(subscription, heard)
            except (OSError, redis.RedisError) as error:
                if not is_told:
                    logger.warning(
                        "Wake-ups aren't heard, streams look at the database meanwhile: %s: %s",
                        type(error).__name__,
                        error,
                    )
                is_told = True
                lost()
            if loop.time() - begun > QUIET:
                pause = SHORTEST
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
            pause = min(LONGEST, 2 * pause)

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Any]:
        """Subscribe on a connection of its own, of which nothing is left afterwards."""
        client = redis.asyncio.Redis.from_url(self._address, retry=AsyncRetry(NoBackoff(), 0), **self._options)
        subscription = client.pubsub()
        try:
            await subscription.subscribe(CHANNEL)
            if await subscription.get_message(timeout=PATIENCE) is None:
                raise redis.TimeoutError("It takes connections, and doesn't answer.")
            yield subscription
        finally:
            for each in (subscription, client):
                with suppress(OSError, redis.RedisError):
                    # Over TLS a silent server would be waited for.
                    async with asyncio.timeout(PATIENCE):
                        await each.aclose()


async def _hear(subscription: Any, heard: Callable[[str], None]) -> None:
    """Pass words on; raise when the connection is lost, or nobody is found at its other end."""
    is_asked = False
    while True:
        message = await subscription.get_message(timeout=PATIENCE if is_asked else QUIET)
        if message is None:
            if is_asked:
                raise redis.TimeoutError("It doesn't answer any more.")
            is_asked = True
            await subscription.ping()
            continue
        is_asked = False
        if message["type"] == "message":
            for word in message["data"].decode(errors="replace").splitlines():
                heard(word)
