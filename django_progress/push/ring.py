"""The newest events of one process, kept for all that read them at once."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import translation

from ..status import TERMINAL
from . import sse

if TYPE_CHECKING:
    from ..models import Event

__all__ = ["ENDS", "MOST", "Encoded", "Ring", "encoded"]

MOST = 256
"""Events that are kept at most."""
MOST_BYTES = 256 * 1024
"""What they may take together, as they are sent in one language; the newest is kept however large."""
ENDS = frozenset(status.value for status in TERMINAL)
"""The types of the event that is a log's last."""


def encoded(event: Event, key: object, language: str | None) -> bytes:
    """Return an event as streams send it, in one language."""
    with translation.override(language):
        data = json.dumps(event.as_json(key), cls=DjangoJSONEncoder, ensure_ascii=False)
    return sse.encode(data, id=event.seq)


class Encoded:
    """One event, with what it looks like in each language that somebody reads it in."""

    __slots__ = ("_texts", "event", "key")

    def __init__(self, event: Event, key: object, languages: Iterable[str | None]) -> None:
        self.event, self.key = event, key
        self._texts = {language: encoded(event, key, language) for language in languages}

    def __len__(self) -> int:
        return max(map(len, self._texts.values()), default=0)

    def text(self, language: str | None) -> bytes:
        """Return it as it is sent."""
        if language not in self._texts:
            self._texts[language] = encoded(self.event, self.key, language)
        return self._texts[language]


class Ring:
    """The newest events without a gap between them, up to ``newest``."""

    def __init__(self, newest: int, key: object) -> None:
        self.newest = newest
        self.key = key
        self.languages: set[str | None] = set()
        """Those that somebody reads them in."""
        self._kept: deque[Encoded] = deque()
        self._bytes = 0

    def add(self, events: Iterable[Encoded]) -> None:
        """Take what follows; if it doesn't follow on what is here, that is forgotten."""
        for entry in events:
            seq = entry.event.seq
            if seq <= self.newest:
                continue
            if seq != self.newest + 1:
                self._kept.clear()
                self._bytes = 0
            self._kept.append(entry)
            self._bytes += len(entry)
            self.newest = seq
        while len(self._kept) > MOST or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft())

    @property
    def is_ended(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._kept) and self._kept[-1].event.type in ENDS

    def after(self, seq: int) -> list[Encoded] | None:
        """Return those with a higher number; None where some of them are no longer here."""
        count = self.newest - seq
        if count <= 0:
            return []
        if count > len(self._kept):
            return None
        return [self._kept[-1]] if count == 1 else list(self._kept)[-count:]
