"""The hub: what all streams of one server process have in common.

However many read a process, it is looked at once, read once and rendered once; and however
many streams are open, the hub has two threads, and so two connections to the database.
A wake-up is only a nudge: what is delivered always comes from the database.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..models import Process
from .kept import Kept
from .looking import read_rows
from .rounds import Rounds
from .watching import Follower, HubClosed, Watch

__all__ = ["MISSED", "Hub", "HubClosed"]

MISSED = ""
"""What those listen to who have to know that words may have been missed; no word is empty."""

NEWEST = sys.maxsize
"""A generation that nothing has reached: the row is read again."""

R = TypeVar("R")


class Hub(Rounds):
    """What the streams of one event loop share. Use it only from that loop: ``Hub.here()``."""

    _hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()

    @classmethod
    def here(cls) -> Hub:
        """Return the hub of the running event loop."""
        loop = asyncio.get_running_loop()
        hub = cls._hubs.get(loop)
        if hub is None:
            for other in [other for other in cls._hubs if other.is_closed()]:
                cls._hubs.pop(other).end()
            hub = cls._hubs[loop] = cls()
        return hub

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[int, asyncio.Future[Process | None]] = {}
        self._kept = Kept()
        self._listeners: defaultdict[str, set[Callable[[str], None]]] = defaultdict(set)
        self._jobs: set[asyncio.Task[None]] = set()

    # For those who read

    def watch(self, pks: Iterable[int]) -> Watch:
        """Watch processes, inside ``async with``; see :class:`Watch`."""
        return Watch(self, pks)

    def follow(self, pk: int, key: object, language: str | None) -> Follower:
        """Read the events of a process as they come, inside ``async with``."""
        return Follower(self, pk, key, language)

    async def row(self, pk: int, generation: int) -> Process | None:
        """Return the process as the pages need it, read when it had this generation or later; None if it is gone.

        What many ask for at a time is one query. All get the same instance: change nothing on it.
        """
        watched = self._watched.get(pk)
        if watched is not None:
            watched.wants_row = True
            if watched.row is not None and watched.row[0] >= generation:
                return await asyncio.shield(watched.row[1])
        asked = self._asked.get(pk)
        if asked is None:
            if not self._asked:
                asyncio.get_running_loop().call_soon(self._read_asked)
            asked = self._asked[pk] = asyncio.get_running_loop().create_future()
        if watched is not None:
            watched.row = (watched.generation, asked)
        return await asyncio.shield(asked)

    async def row_at(self, pk: int, moment: float) -> Process | None:
        """Return the process read at ``moment``, by the loop's clock, or later: once for all who name that moment."""
        return await self._kept.get(("row", pk, moment), partial(self.row, pk, NEWEST))

    async def once(self, key: Hashable, function: Callable[[], R]) -> R:
        """Return what ``function`` returns, which is called once, in the hub's thread, for all who give an equal key.

        The function has to make its own settings of language and time zone.
        """
        return await self._kept.get(key, partial(self._reader.run, function))

    async def run(self, function: Callable[[], R]) -> R:
        """Return what ``function`` returns, called in the second thread: for what is one reader's own."""
        try:
            return await self._helper.run(function)
        finally:
            if self._task is None:
                self._helper.rest()

    async def event_after(self, pk: int, seq: int, timeout: float) -> bool:
        """Wait until there is an event with a higher number, or the process is gone; False at the time-out."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        async with self.watch([pk]) as watch:
            while (left := end - loop.time()) > 0:
                await watch.next(left)
                watched = self._watched[pk]
                if watched.is_gone or watched.last_seq > seq:
                    return True
        return False

    def listen(self, word: str, heard: Callable[[str], None]) -> Callable[[], None]:
        """Call ``heard`` when a wake-up says ``word``; return what ends that."""
        self._listeners[word].add(heard)
        return partial(self._unlisten, word, heard)

    def _read_asked(self) -> None:
        """Read the rows that were asked for since the loop last turned."""
        asked, self._asked = self._asked, {}
        job = asyncio.get_running_loop().create_task(self._answer(asked))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _answer(self, asked: dict[int, asyncio.Future[Process | None]]) -> None:
        try:
            rows = await self._reader.run(partial(read_rows, list(asked)))
        except BaseException as error:
            for pk, answer in asked.items():
                watched = self._watched.get(pk)
                if watched is not None and watched.row is not None and watched.row[1] is answer:
                    watched.row = None
                if isinstance(error, Exception):
                    answer.set_exception(error)
                    answer.exception()  # Whoever asked may be gone.
                else:
                    answer.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for pk, answer in asked.items():
                answer.set_result(rows.get(pk))

    def _unlisten(self, word: str, heard: Callable[[str], None]) -> None:
        self._listeners[word].discard(heard)
        if not self._listeners[word]:
            del self._listeners[word]

    def rest(self) -> None:
        """Keep nothing while nobody watches."""
        super().rest()
        self._kept.clear()

    def heard(self, word: str) -> None:
        """Take one word of a wake-up."""
        super().heard(word)
        for listener in list(self._listeners.get(word, ())):
            listener(word)

    def lost(self) -> None:
        """Look at everything, and have all who listen to words know that theirs may have been missed."""
        super().lost()
        for listener in list(self._listeners.get(MISSED, ())):
            listener(MISSED)
