"""Reading the events that somebody has missed, page by page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import router

from ..models import Event, Process
from ..status import TERMINAL
from . import sse
from .ring import ENDS, encoded

__all__ = ["USUAL", "Page", "read_page"]

LEAST, USUAL, MOST = 20, 100, 500
"""Events that one query reads: at least, at first and at most, by how large they are."""
CHUNK = 64 * 1024
"""Bytes, about, that are handed to the server at a time; ten times as much is a page that is too long."""


@dataclass
class Page:
    """Some of the events, as they are sent."""

    after: int
    """The number of the last of them."""
    chunks: list[bytes] = field(default_factory=list)
    suggested: int = USUAL
    """How many the next page should have."""
    is_newest: bool = False
    """Whether there were no more when it was read."""
    is_last: bool = False
    """Whether there will be no more."""


def read_page(pk: int, key: UUID, after: int, language: str | None, most: int = USUAL) -> Page:
    """Return what follows on ``after``; where that was purged, or never was, beginning with a word about it."""
    # Not from a replica, which may know less than what has been sent already.
    using = router.db_for_write(Process)
    row: Any = Process.objects.using(using).filter(pk=pk).values_list("last_seq", "status").first()
    if row is None:
        return Page(after, is_last=True)
    last_seq, status = row
    is_ahead = after > last_seq
    rows = Event.objects.using(using).filter(process_id=pk).after(0 if is_ahead else after)[:most]
    events = list(rows)
    page = Page(after)
    first = events[0].seq if events else last_seq + 1
    if is_ahead or first > after + 1:
        page.after = first - 1
        reset = {"after": page.after, "reason": "unknown" if is_ahead else "purged"}
        page.chunks.append(sse.encode(json.dumps(reset), event="reset", id=page.after))
    parts = [encoded(event, key, language) for event in events]
    page.chunks += _joined(parts)
    size = sum(map(len, parts))
    page.suggested = max(LEAST, most // 2) if size > 10 * CHUNK else min(MOST, most * 2)
    if events:
        page.after = events[-1].seq
    page.is_newest = len(events) < most
    ended = events[-1].type in ENDS if events else status in TERMINAL
    page.is_last = page.is_newest and ended
    return page


def _joined(parts: list[bytes]) -> list[bytes]:
    chunks: list[bytes] = []
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= CHUNK:
            chunks.append(b"".join(gathered))
            gathered, size = [], 0
    if gathered:
        chunks.append(b"".join(gathered))
    return chunks
