"""What is made once for all who ask for the same at about the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, TypeVar

__all__ = ["Kept"]

MOMENT = 2.0
"""Seconds for which a result is kept: it may hold a whole row."""
MOST = 512
"""Results that are kept at a time."""

R = TypeVar("R")


class Kept:
    """Results by what was asked for, kept for a moment. What has failed is made again."""

    def __init__(self) -> None:
        self._results: OrderedDict[Hashable, asyncio.Future[Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._results)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[R]]) -> R:
        """Return what ``make`` makes, which is called once for all who give an equal key."""
        result = self._results.get(key)
        if result is None:
            result = self._results[key] = asyncio.ensure_future(make())
            result.add_done_callback(partial(self._made, key))
            while len(self._results) > MOST:
                self._results.popitem(last=False)
        else:
            self._results.move_to_end(key)
        return await asyncio.shield(result)

    def clear(self) -> None:
        """Keep nothing."""
        self._results.clear()

    def _made(self, key: Hashable, result: asyncio.Future[Any]) -> None:
        if result.cancelled() or result.exception() is not None:
            self._drop(key, result)
        else:
            result.get_loop().call_later(MOMENT, self._drop, key, result)

    def _drop(self, key: Hashable, result: asyncio.Future[Any]) -> None:
        if self._results.get(key) is result:
            del self._results[key]
