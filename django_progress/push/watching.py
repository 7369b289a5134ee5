"""What the hub knows of each process that is watched, and those who watch."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .ring import Encoded, Ring

if TYPE_CHECKING:
    from ..models import Process
    from .rounds import Rounds

__all__ = ["Follower", "HubClosed", "Watch", "Watched"]


class HubClosed(Exception):
    """The server is stopping, or the hub has failed; whoever waits has to come back."""


class Watched:
    """One process that somebody watches."""

    __slots__ = (
        "generation", "is_gone", "known", "pk", "ring", "row", "wants_row", "watchers",
    )  # fmt: skip

    def __init__(self, pk: int) -> None:
        self.pk = pk
        self.watchers: set[Watch] = set()
        self.generation = 0
        """Another number after each change; 0 while nothing has been read."""
        self.known: tuple[int, int] | None = None
        """The ``last_seq`` and ``revision`` that the generation stands for, as far as they were looked at."""
        self.is_gone = False
        self.row: tuple[int, asyncio.Future[Process | None]] | None = None
        """The row, and the generation it was read for."""
        self.wants_row = False
        """Whether somebody has asked for it: then it is what is read after a wake-up."""
        self.ring: Ring | None = None
        """The newest events, where somebody reads them."""

    def take_row(self, found: Process | None) -> None:
        """Take the row that a round has read; what was asked for later may be newer, and come earlier."""
        row = self.row[1] if self.row else None
        if row is None or (row.done() and not is_newer(row.result(), found)):
            row = asyncio.get_running_loop().create_future()
            row.set_result(found)
        self.row = (self.generation, row)

    @property
    def wants_state(self) -> bool:
        """Whether somebody watches it who doesn't read its events."""
        return any(not isinstance(watch, Follower) for watch in self.watchers)

    @property
    def last_seq(self) -> int:
        """The number of its last event, as far as is known."""
        return max(self.known[0] if self.known else 0, self.ring.newest if self.ring else 0)


class Watch:
    """Tells one reader which of the processes that it watches have changed.

    Begins with all of them, as they are once it has begun: nothing is missed of what was
    committed since its reader looked.
    """

    def __init__(self, hub: Rounds, pks: Iterable[int]) -> None:
        self.hub = hub
        self._pks = set(pks)
        self._changed: dict[int, int] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._end = math.inf
        self._since: dict[int, int] = {}
        self._is_woken = self._is_lost = False

    async def __aenter__(self) -> Any:
        self.hub.check_open()
        self.add(self._pks)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.drop(set(self._pks))
        if self._timer is not None:
            self._timer.cancel()

    @property
    def pks(self) -> frozenset[int]:
        """What is watched."""
        return frozenset(self._pks)

    def add(self, pks: Iterable[int]) -> None:
        """Watch more; they are told of as those that it began with."""
        for pk in pks:
            self._pks.add(pk)
            self._since[pk] = self.hub.begin(self, pk)

    def drop(self, pks: Iterable[int]) -> None:
        """Watch less."""
        for pk in pks:
            self._pks.discard(pk)
            self._changed.pop(pk, None)
            self._since.pop(pk, None)
            self.hub.leave(self, pk)

    async def next(self, timeout: float | None = None) -> dict[int, int]:
        """Wait for changes; return the generation of each process that has changed since this was last asked.

        Empty when ``timeout`` seconds have gone by, or it was woken. Raises ``HubClosed`` when the server stops.
        """
        self.check_open()
        if not self._changed and not self._is_woken and timeout != 0:
            await self._until_woken(timeout)
            self.check_open()
        self._is_woken = False
        changed, self._changed = self._changed, {}
        return changed

    def check_open(self) -> None:
        """Raise ``HubClosed`` if nothing will be told any more."""
        if self._is_lost:
            raise HubClosed
        self.hub.check_open()

    def _until_woken(self, timeout: float | None) -> asyncio.Future[None]:
        """Return what is done when it is woken, or after ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._end = math.inf if timeout is None else loop.time() + timeout
        if self._timer is not None and self._timer.when() > self._end:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and timeout is not None:
            self._timer = loop.call_at(self._end, self._ring)
        return self._waiter

    def _ring(self) -> None:
        """Wake it if its time is over, else wait on: most waits end early, and share one timer."""
        self._timer = None
        if self._waiter is None or self._waiter.done() or self._end == math.inf:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._end:
            self._timer = loop.call_at(self._end, self._ring)
        else:
            self._waiter.set_result(None)

    def tell(self, watched: Watched, round: int) -> None:
        """Note a change, unless the round began before this watch did: then its own is still to come."""
        since = self._since.get(watched.pk)
        if since is None or round < since:
            return
        self._since[watched.pk] = 0
        self._changed[watched.pk] = watched.generation
        self.wake()

    def is_waiting_for(self, pk: int, round: int) -> bool:
        """Say whether nothing has been told yet of a process, and this round can."""
        return 0 < self._since.get(pk, 0) <= round

    def wake(self) -> None:
        """End a wait: the next one, if there is none now."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        else:
            self._is_woken = True

    def lose(self) -> None:
        """End it: the hub has failed."""
        self._is_lost = True
        self.wake()


class Follower(Watch):
    """Reads the events of one process, live, after whatever its reader has read up to."""

    def __init__(self, hub: Rounds, pk: int, key: object, language: str | None) -> None:
        super().__init__(hub, [pk])
        self._pk, self._key, self._language = pk, key, language

    @property
    def is_gone(self) -> bool:
        """Whether the process has been deleted."""
        return self.hub.watched(self._pk).is_gone

    def has_ended(self, seq: int) -> bool:
        """Say whether nothing can follow on ``seq``."""
        ring = self.hub.watched(self._pk).ring
        return ring is not None and ring.is_ended and seq >= ring.newest

    def knows(self, seq: int) -> bool:
        """Say whether an event with that number is known to have happened."""
        ring = self.hub.watched(self._pk).ring
        return ring is not None and seq <= ring.newest

    def take(self, seq: int) -> list[Encoded] | None:
        """Return the events after ``seq`` that are known; None if they have to be read from the database."""
        ring = self.hub.watched(self._pk).ring
        return ring.after(seq) if ring is not None else None

    def join(self, seq: int) -> None:
        """Be told what follows on ``seq``, up to which the reader has read from the database."""
        watched = self.hub.watched(self._pk)
        if watched.ring is None:
            watched.ring = Ring(seq, self._key)
            self.hub.read_on(self._pk)
        watched.ring.languages.add(self._language)


def is_newer(row: Process | None, than: Process | None) -> bool:
    """Say whether one row of a process was read after another."""
    return row is not None and than is not None and row.revision > than.revision
