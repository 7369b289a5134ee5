"""Every adapter that brings wake-ups, with what its tests do to it: kill it, start it again, count who listens.

    @pytest.mark.parametrize("channel", CHANNELS, indirect=True)
    def test_something(channel, settings):
        settings.DJANGO_PROGRESS = {"WAKE_UPS": channel.setting}

The fixture is in tests/push/conftest.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest

from django_progress.push.wakeups import WakeUps
from tests.private import Redis, private_redis

__all__ = ["CHANNELS", "Channel", "HereWakeUps", "Listener", "eventually", "listening", "open_channel"]

CHANNELS = [pytest.param("redis", marks=pytest.mark.redis), "own class"]
"""Those on which words arrive."""


class HereWakeUps:
    """A class as a project may write one: it reaches the listeners of this OS process, while it is up."""

    has_channel = True
    is_up = True
    sent: list[frozenset[str]] = []
    listeners: dict[object, tuple[asyncio.AbstractEventLoop, Callable[[str], None], Callable[[], None]]] = {}
    lock = threading.Lock()

    def send(self, words: Collection[str]) -> None:
        if not self.is_up:
            raise ConnectionRefusedError("It is down.")
        with self.lock:
            self.sent.append(frozenset(words))
            for loop, heard, _ in self.listeners.values():
                for word in words:
                    loop.call_soon_threadsafe(heard, word)

    async def listen(self, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        key = object()
        with self.lock:
            self.listeners[key] = asyncio.get_running_loop(), heard, lost
        try:
            lost()
            await asyncio.get_running_loop().create_future()
        finally:
            with self.lock:
                del self.listeners[key]

    @classmethod
    def come_back(cls) -> None:
        cls.is_up = True
        with cls.lock:
            for loop, _, lost in cls.listeners.values():
                loop.call_soon_threadsafe(lost)


@dataclass
class Channel:
    """One adapter, and the server behind it."""

    setting: str
    kill: Callable[[], object]
    start: Callable[[], object]
    count: Callable[[], int]
    """Who listens, as the server sees it."""
    server: Redis | None = None


@contextmanager
def open_channel(name: str) -> Iterator[Channel]:
    """Give a channel that nobody else uses, and leave nothing of it."""
    if name == "redis":
        with private_redis() as server:
            yield Channel(server.url, server.kill, server.start, lambda: _clients(server), server)
    else:
        HereWakeUps.is_up = True
        HereWakeUps.sent.clear()
        try:
            path = f"{HereWakeUps.__module__}.{HereWakeUps.__qualname__}"
            yield Channel(
                path,
                lambda: setattr(HereWakeUps, "is_up", False),
                HereWakeUps.come_back,
                lambda: len(HereWakeUps.listeners),
            )
        finally:
            HereWakeUps.is_up = True


def _clients(server: Redis) -> int:
    import redis

    with redis.Redis.from_url(server.url) as client:
        return len(client.client_list(_type="pubsub"))


@dataclass
class Listener:
    """What one listener was told, in its order."""

    words: list[str] = field(default_factory=list)
    lost: int = 0

    def lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def listening(wake_ups: WakeUps) -> AsyncIterator[Listener]:
    """Listen for the length of the block, in which a first time has been said that words may be lost."""
    listener = Listener()
    task = asyncio.create_task(wake_ups.listen(listener.words.append, listener.lose))
    try:
        await eventually(lambda: listener.lost, "the listener to be connected")
        yield listener
        assert not task.done(), "It stopped to listen by itself."
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], object], what: str = "it", *, timeout: float = 15) -> None:
    """Wait in this event loop until a condition is true."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"Waited {timeout:g} s for {what}, in vain."
        await asyncio.sleep(0.01)
