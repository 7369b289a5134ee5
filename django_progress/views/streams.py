"""The events of one process as a stream: first those that a reader has missed, then each as it comes."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator
from functools import partial
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import get_language
from django.views.decorators.csrf import csrf_exempt

from ..access import find, visible_among
from ..push import sse
from ..push.hub import Hub
from ..push.replay import USUAL, read_page
from ..push.ring import ENDS
from ..status import TERMINAL
from .api import MAX_SEQ, not_found
from .guards import for_programs, is_logged_in, not_allowed, problem
from .permits import Permit
from .regions import Look, Surroundings, looked_at, rendered
from .streaming import NOTHING, finished, in_thread, is_offered, silence, stream_response, streaming

__all__ = ["stream"]

LOOKS = ("status", "wait", "bar", "processing")
"""In which ways a live region is shown."""


@csrf_exempt
@login_not_required
@streaming
async def stream(request: HttpRequest, key: UUID) -> HttpResponseBase:
    """Stream what happens to one process, as server-sent events."""
    if request.method not in ("GET", "HEAD"):
        return not_allowed(request, "GET", "HEAD")
    process = await in_thread(find, request, key)
    if process is None:
        return _refusal(request, answer=not_found())
    after = _cursor(request)
    if after is None:
        return _refusal(
            request,
            answer=problem(
                400,
                "invalid_after",
                "after, and Last-Event-ID, must be the number of an event, a whole number from 0 up; take it from "
                "last_seq or from the seq of the last event you have, or leave it out to begin at the first.",
            ),
        )
    # By what is stored: of what is overdue, the last event may still be to come.
    if is_offered(request) and process.status in TERMINAL and after >= process.last_seq:
        return finished()
    if request.GET.get("format") == "html":
        mode = request.GET.get("as", "status")
        if mode not in LOOKS:
            return _refusal(request, answer=problem(400, "invalid_as", f"as must be one of {', '.join(LOOKS)}."))
        look = Look(mode, 1, is_logged_in(request), "", Surroundings.here())
        chunks = _regions(request, process.pk, look)
    else:
        chunks = _events(request, process.pk, key, after, get_language())
    addresses = {name: reverse(f"django_progress:process-{name}", args=[key]) for name in ("status", "events")}
    return stream_response(request, chunks, **addresses)


@for_programs
def _refusal(request: HttpRequest, *, answer: HttpResponse) -> HttpResponse:
    return answer


def _cursor(request: HttpRequest) -> int | None:
    """Return after which event to begin: what a browser says that comes back is newer than the address."""
    text = request.headers.get("Last-Event-ID", "").strip() or request.GET.get("after", "0")
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MAX_SEQ:
        return None
    return int(text)


async def _events(
    request: HttpRequest, pk: int, key: UUID, after: int, language: str | None
) -> AsyncGenerator[bytes, None]:
    hub = Hub.here()
    follower = hub.follow(pk, key, language)
    permit = Permit(hub, request, partial(_may_see, pk=pk), granted=True, pks=[pk], wake=follower.wake)
    quiet, most, is_checked = silence(), USUAL, False
    async with follower, permit:
        while True:
            # What follows is gone through for each event of each stream.
            follower.check_open()
            entries = follower.take(after) if is_checked or follower.knows(after) else None
            is_checked = True
            if entries is None:
                page = await hub.run(partial(read_page, pk, key, after, language, most))
                for chunk in page.chunks:
                    follower.check_open()
                    if not (permit.last() or await permit.value()):
                        return
                    yield chunk
                if page.is_last:
                    return
                after, most = page.after, page.suggested
                if page.is_newest:
                    follower.join(after)
                del page
            elif entries:
                if not (permit.last() or await permit.value()):
                    return
                newest = entries[-1].event
                yield b"".join([entry.text(language) for entry in entries])
                after = newest.seq
                if newest.type in ENDS:
                    return
            elif follower.is_gone or follower.has_ended(after):
                return
            elif not await follower.next(quiet):
                # Age alone is no reason to ask: nothing is told.
                if permit.is_doubted and not await permit.value():
                    return
                yield NOTHING


def _may_see(request: HttpRequest, pk: int) -> bool:
    return bool(visible_among(request, pk=pk))


async def _regions(request: HttpRequest, pk: int, look: Look) -> AsyncGenerator[bytes, None]:
    """Yield the live region of a page as it changes, until it has ended."""
    hub, time = Hub.here(), asyncio.get_running_loop().time
    watch = hub.watch([pk])
    permit = Permit(hub, request, partial(_may_see, pk=pk), granted=True, pks=[pk], wake=watch.wake)
    token, revision, tick = "", 0, math.inf
    async with watch, permit:
        while True:
            changed = await watch.next(max(0.0, min(silence(), tick - time())))
            if not changed and time() < tick:
                if permit.is_doubted and not await permit.value():
                    return
                yield NOTHING
                continue
            # Without a change too: it tells the time.
            row = await (hub.row(pk, changed[pk]) if changed else hub.row_at(pk, tick))
            if row is None:
                return
            if row.revision < revision:
                tick = time() + 1.0  # Asked for before what is shown already.
                continue
            live = await hub.once((pk, row.revision, row.now, look), partial(looked_at, row, look))
            is_news = live.token != token
            if (is_news or permit.is_doubted) and not await permit.value():
                return
            if is_news:
                html = await hub.once((live.token, look), partial(rendered, live, look))
                yield sse.encode(html, id=row.last_seq)
            else:
                yield NOTHING
            token, revision = live.token, row.revision
            # At the same moments for all who look, so that they share what they see.
            tick = (time() // live.interval + 1) * live.interval if live.interval is not None else math.inf
            if row.is_finished:
                return
