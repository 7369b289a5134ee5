"""Asynchronous twins of synchronous verbs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

__all__ = ["twin"]

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def twin(verb: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Return ``verb`` for asynchronous code.

    One line under each verb, so that type checkers and readers see it. Twins run in
    Django's thread for synchronous code, one at a time, for that is where the database
    connection lives.
    """

    async def asynchronous(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(verb)(self, *args, **kwargs)

    update_wrapper(asynchronous, verb)

    asynchronous.__name__ = f"a{verb.__name__}"
    asynchronous.__qualname__ = asynchronous.__name__
    return asynchronous
