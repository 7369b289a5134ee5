"""The hub's rounds of reading: one query for each kind of thing to know, for all that is watched."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Collection
from functools import partial

from ..conf import settings
from . import stopping
from .looking import Found, Plan, read
from .ring import MOST
from .threads import DatabaseThread
from .wakeups import WakeUps, configured
from .watching import HubClosed, Watch, Watched

__all__ = ["Rounds"]

logger = logging.getLogger("django_progress")

PACE = 0.025
"""Seconds between two rounds of reading, at least: what happens in between is read together."""
SAFETY = 5.0
"""Seconds between two looks at everything where there are wake-ups, which may get lost."""
AFTER_ERROR = 1.0
"""Seconds to wait when the database doesn't answer."""
AFTER_FAILURE = 10.0
"""Seconds to wait when nothing can be read for another reason: there are no streams meanwhile."""
DEAF = 5.0
"""Seconds after which an adapter is called again that has stopped to listen."""
SAID_AGAIN = 600.0
"""Seconds in which that is logged once."""
LINGER = 10.0
"""Seconds that the hub stays ready when nobody watches any more."""


class Rounds:
    """What is watched, and the task that finds out about it for as long as anybody watches."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._dirty: set[int] = set()
        self._begun: set[int] = set()
        self._behind: set[int] = set()
        self._round = 0
        self._generations = itertools.count(1)
        self._awake = asyncio.Event()
        self._next_look = 0.0
        self._task: asyncio.Task[None] | None = None
        self._reader, self._helper = DatabaseThread("hub"), DatabaseThread("hub's helper")
        self.is_closed = False
        """Whether the server stops; that is for good."""
        self._failed_until = 0.0
        self._hears = False

    # For those who wake

    def heard(self, word: str) -> None:
        """Take one word of a wake-up (see nudges.py)."""
        # Whoever can publish can send anything; more digits no key has.
        if len(word) < 20 and word.isdecimal() and int(word) in self._watched:
            self._dirty.add(int(word))
            self._awake.set()

    def lost(self) -> None:
        """Look at everything: wake-ups may have been missed."""
        self._next_look = 0.0
        self._awake.set()

    def close(self) -> None:
        """End all streams: the server stops."""
        self.is_closed = True
        self._awake.set()
        for watched in self._watched.values():
            for watch in watched.watchers:
                watch.wake()

    def end(self) -> None:
        """End its threads: its loop has ended."""
        self._reader.end()
        self._helper.end()

    def check_open(self) -> None:
        """Raise ``HubClosed`` if the server stops, or the hub has failed a short time ago."""
        if self.is_closed or self.has_failed:
            raise HubClosed

    @property
    def has_failed(self) -> bool:
        """Whether it can't read what is watched, for a while."""
        # Asked at each turn of each stream, and mostly it never has.
        return self._failed_until > 0 and asyncio.get_running_loop().time() < self._failed_until

    def rest(self) -> None:
        """Hold nothing while nobody watches."""
        self._reader.rest()
        self._helper.rest()

    # For watches

    def read_on(self, pk: int) -> None:
        """Read what more has happened to a process whose events are read."""
        self._behind.add(pk)
        self._awake.set()

    def begin(self, watch: Watch, pk: int) -> int:
        """Let it watch; return the round that tells it how the process is."""
        watched = self._watched.get(pk)
        if watched is None:
            watched = self._watched[pk] = Watched(pk)
        watched.watchers.add(watch)
        self._begun.add(pk)
        self._awake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._round + 1

    def leave(self, watch: Watch, pk: int) -> None:
        """Let it watch no longer."""
        watched = self._watched.get(pk)
        if watched is not None:
            watched.watchers.discard(watch)
            if not watched.watchers:
                del self._watched[pk]

    def watched(self, pk: int) -> Watched:
        """Return what is known of a process that is watched."""
        return self._watched[pk]

    # The work

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        stopping.on_stop(self.close)
        listening = None
        try:
            ways = configured()
            if ways.has_channel:
                self._hears = True
                listening = loop.create_task(self._listen(ways))
            used = loop.time()
            while not self.is_closed and (self._watched or loop.time() < used + LINGER):
                begun = loop.time()
                if self._watched:
                    used = begun
                    await self._read()
                await asyncio.sleep(max(0, begun + PACE - loop.time()))
                await self._until(self._next_look if self._watched else used + LINGER)
        except Exception:
            # Pages poll then.
            logger.exception("What streams watch can't be read; it is tried again in %s s.", AFTER_FAILURE)
            self._failed_until = loop.time() + AFTER_FAILURE
            for watched in self._watched.values():
                for watch in watched.watchers:
                    watch.lose()
        finally:
            self._task = None
            self._hears = False
            if listening is not None:
                listening.cancel()
            self.rest()

    async def _listen(self, ways: WakeUps) -> None:
        """Listen, also to an adapter that gives up; meanwhile it is as if there were none."""
        loop = asyncio.get_running_loop()
        quiet_until = 0.0
        while True:
            error: Exception | None = None
            try:
                await ways.listen(self.heard, self.lost)
            except Exception as raised:
                error = raised
            self._hears = False
            self.lost()
            if loop.time() >= quiet_until:
                quiet_until = loop.time() + SAID_AGAIN
                name = type(ways).__name__
                logger.error("%s has stopped to listen; it is called again every %s s.", name, DEAF, exc_info=error)
            await asyncio.sleep(DEAF)
            self._hears = True

    async def _until(self, moment: float) -> None:
        """Wait until there is something to do, or until ``moment``."""
        loop = asyncio.get_running_loop()
        timer = loop.call_at(moment, self._awake.set)
        try:
            await self._awake.wait()
        finally:
            timer.cancel()
        self._awake.clear()

    async def _read(self) -> None:
        """Do one round of reading: in one query for each kind of thing to know."""
        loop = asyncio.get_running_loop()
        self._round += 1
        dirty, self._dirty = self._dirty & self._watched.keys(), set()
        begun, self._begun = self._begun & self._watched.keys(), set()
        behind, self._behind = self._behind & self._watched.keys(), set()
        is_due = loop.time() >= self._next_look
        if not (dirty or begun or behind or is_due):
            return
        if is_due:
            # Before it is read: who says meanwhile that words were lost means another look.
            self._next_look = loop.time() + (SAFETY if self._hears else settings.WATCH_INTERVAL)
        plan = self._plan(dirty, begun, behind, is_due)
        try:
            found = await self._reader.run(partial(read, plan))
        except Exception:
            logger.exception("What streams watch could not be read; it is tried again in %s s.", AFTER_ERROR)
            self._dirty |= dirty
            self._begun |= begun
            self._behind |= behind
            if is_due:
                self._next_look = 0.0
            await asyncio.sleep(AFTER_ERROR)
            self._awake.set()
            return
        if found.due is not None:
            self._next_look = min(self._next_look, loop.time() + max(PACE, found.due))
        self._apply(plan, found, dirty)

    def _plan(self, dirty: set[int], begun: set[int], behind: set[int], is_due: bool) -> Plan:
        watched = self._watched
        asked = set(watched) if is_due else dirty | begun | behind
        plan = Plan(logs=dirty | begun | behind)
        plan.rows = {pk for pk in dirty if watched[pk].wants_row}
        plan.looks = {
            pk for pk in asked if is_due or pk in begun or (pk in dirty and watched[pk].wants_state)
        } - plan.rows
        plan.known = {pk: watched[pk].known for pk in asked}
        plan.wants_row = {pk for pk in asked if watched[pk].wants_row}
        for pk in asked:
            if (ring := watched[pk].ring) is not None:
                plan.follow(pk, ring)
        return plan

    def _apply(self, plan: Plan, found: Found, dirty: Collection[int]) -> None:
        """Take in what was read, and wake those for whom it is news."""
        for pk in plan.known:
            watched = self._watched.get(pk)
            if watched is None:
                continue
            is_gone = watched.is_gone
            if pk in plan.looks or pk in plan.rows:
                is_gone = pk not in found.states
            news = pk in dirty or pk in found.events or not watched.generation
            if is_gone != watched.is_gone or (pk in found.states and found.states[pk] != watched.known):
                watched.is_gone, watched.known = is_gone, found.states.get(pk)
                news = True
            if (ring := watched.ring) is not None and pk in plan.rings:
                events = found.events.get(pk, ())
                ring.add(events)
                if len(events) >= MOST:
                    self.read_on(pk)
                elif not events and found.states.get(pk, (0, 0))[0] > ring.newest:
                    # Purged before they were read here: its readers have to hear of that.
                    watched.ring, news = None, True
            if news:
                watched.generation = next(self._generations)
            if pk in found.rows or pk in plan.rows:
                watched.take_row(found.rows.get(pk))
            for watch in watched.watchers:
                if news or watch.is_waiting_for(pk, self._round):
                    watch.tell(watched, self._round)
