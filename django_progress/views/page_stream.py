"""One stream for all live regions of a page: what they show, as soon as it changes.

Who may see it, and where it leads in the end, is decided where the page polls: of what may
no longer be seen, and of what leads on, the stream only says that it should be asked for.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Hashable, Iterable, Iterator, Mapping
from functools import partial

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from ..conf import settings
from ..models import Process
from ..push import sse
from ..push.hub import Hub
from .live import Live
from .permits import Permit
from .regions import Look, Region, allowed, find, looked_at, rendered
from .streaming import finished, in_thread, is_offered, silence, stream_response, streaming

__all__ = ["stream"]

HELD, HELD_LIST = 30_000, 5_000
"""Milliseconds between two polls of what the stream keeps up to date; lists may have got something new to watch."""
LIFE = 0.6, 0.8
"""Parts of a stream's lifetime, between which it is ended from here: earlier than from outside, and with a word."""
PATIENCE = 2.5
"""How often the time between two signs of life has to go by before the browser takes the stream for broken."""
PAUSE = 1.0
"""Seconds between two times that a list is told to poll."""

News = dict[str, bytes | None]
"""By the id of the region: what is sent of it; None where it is told to poll."""


@require_safe
@login_not_required
@streaming
async def stream(request: HttpRequest) -> HttpResponseBase:
    """Keep the live regions that poll at ``?poll=`` up to date, until all of them have ended."""
    regions: list[Region] = []
    if is_offered(request):
        regions = await in_thread(find, request)
        if not any(region.pks for region in regions):
            return finished()
    return stream_response(request, Page(request, regions).chunks())


class Page:
    """The live regions of one page that is open in a browser."""

    def __init__(self, request: HttpRequest, regions: list[Region]) -> None:
        self.request = request
        self.regions = {region.id: region for region in regions}
        """Those that have not ended."""
        self.ticks: dict[str, float] = {}
        """When one is looked at again though nothing has changed: it tells the time."""
        self.poked: dict[str, float] = {}
        """When a list was last told to poll."""
        self.late: set[str] = set()
        """Lists that are to be told so as soon as they may be."""
        self.is_doubted = False
        """Whether somebody may no longer be permitted to see something."""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield what is to be sent."""
        self.hub, self.time = Hub.here(), asyncio.get_running_loop().time
        end = self.time() + settings.STREAM_LIFETIME * random.uniform(*LIFE)  # noqa: S311
        regions, pks = list(self.regions.values()), self._pks()
        async with self.hub.watch(pks) as watch:

            def doubt() -> None:
                self.is_doubted = True
                watch.wake()

            granted = frozenset(self.regions)
            check = partial(allowed, regions)
            async with Permit(self.hub, self.request, check, granted=granted, pks=pks, wake=doubt) as permit:
                yield self._hello()
                news: News = dict.fromkeys(region.id for region in regions if not region.pks)
                self._drop(news)
                said = self.time()
                while True:
                    if news or self.is_doubted:
                        self.is_doubted = False
                        seen = await permit.value() or frozenset()
                        refused = granted - seen
                        news |= dict.fromkeys(refused & self.regions.keys())
                        self._drop(refused)
                        for chunk in _sent({name: chunk if name in seen else None for name, chunk in news.items()}):
                            yield chunk
                        said = self.time()
                    elif self.time() >= said + silence():
                        yield sse.encode("", event="alive")
                        said = self.time()
                    if not self.regions or self.time() >= end:
                        break
                    watch.drop(watch.pks - self._pks())
                    changed = await watch.next(max(0.0, min(said + silence(), end, *self._moments()) - self.time()))
                    news = await self._news(changed)
        yield sse.encode("", event="again")

    def _hello(self) -> bytes:
        held = {name: HELD if region.look else HELD_LIST for name, region in self.regions.items()}
        return sse.encode(json.dumps({"held": held, "alive": round(PATIENCE * silence() * 1000)}), event="hello")

    def _pks(self) -> frozenset[int]:
        return frozenset[int]().union(*(region.pks for region in self.regions.values()))

    def _moments(self) -> list[float]:
        return [*self.ticks.values(), *(self.poked[name] + PAUSE for name in self.late)]

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            self.regions.pop(name, None)
            self.ticks.pop(name, None)
            self.late.discard(name)

    async def _news(self, changed: Mapping[int, int]) -> News:
        """Return what there is to say, now that these processes have changed and this time has gone by."""
        news: News = {}
        shown = []
        for region in self.regions.values():
            if region.look is None:
                if self._is_poked(region, not region.pks.isdisjoint(changed)):
                    news[region.id] = None
                continue
            (pk,) = region.pks
            if pk in changed:
                shown.append(self._show(region, region.look, (pk, changed[pk]), self.hub.row(pk, changed[pk])))
            elif self.ticks.get(region.id, self.time()) <= self.time():
                moment = self.ticks.pop(region.id, 0.0)
                shown.append(self._show(region, region.look, (pk, "at", moment), self.hub.row_at(pk, moment)))
        for found in await asyncio.gather(*shown):
            news |= found
        return news

    def _is_poked(self, region: Region, is_changed: bool) -> bool:
        """Say whether a list is told to poll now; if that is too early, it is told later."""
        if not is_changed and region.id not in self.late:
            return False
        if self.time() < self.poked.get(region.id, 0.0) + PAUSE:
            self.late.add(region.id)
            return False
        self.late.discard(region.id)
        self.poked[region.id] = self.time()
        return True

    async def _show(self, region: Region, look: Look, state: Hashable, reading: Awaitable[Process | None]) -> News:
        """Return what a region now shows of a process, if that is something else."""
        process = await reading
        if process is None or process.is_finished:
            self._drop([region.id])
            # Who may see the process that tries it again is another question.
            if process is None or region.is_led_on or process.__dict__.get("retried_key"):
                return {region.id: None}
        if process.revision < region.revision:
            return {}
        live = await self.hub.once(("look", state, look), partial(looked_at, process, look))
        if live.interval is not None:
            # At the same moments for all who watch, so that they share what they see.
            self.ticks[region.id] = (self.time() // live.interval + 1) * live.interval
        if live.token == region.token:
            return {}
        region.token, region.revision = live.token, process.revision
        return {region.id: await self.hub.once(("shown", live.token, look), partial(_chunk, live, look))}


def _chunk(live: Live, look: Look) -> bytes:
    return sse.encode(rendered(live, look), event="live")


def _sent(news: News) -> Iterator[bytes]:
    yield from (chunk for chunk in news.values() if chunk is not None)
    if poked := [name for name, chunk in news.items() if chunk is None]:
        yield sse.encode(json.dumps(poked), event="poke")
