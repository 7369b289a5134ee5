"""What all streams have in common: how they are answered, kept alive, limited and ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakSet

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from ..conf import settings
from ..push import sse
from ..push.hub import Hub, HubClosed
from ..push.threads import close_idle_connections, end_request_thread
from .guards import problem

__all__ = ["NOTHING", "finished", "in_thread", "is_offered", "silence", "stream_response", "streaming"]

logger = logging.getLogger("django_progress")

PATIENCE = 30.0
"""Seconds after which a stream is cut whose reader takes nothing."""
SPREAD = 0.2
"""Of a stream's lifetime, by which it is longer or shorter: not all come back at once."""
RETRY = 1_000, 3_000
"""Milliseconds after which a browser comes back whose stream was cut."""
NOTHING = b""
"""What a source of chunks yields when it has been silent for ``silence()`` seconds."""

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]
A = TypeVar("A", bound=HttpResponseBase)
R = TypeVar("R")


def is_offered(request: HttpRequest) -> bool:
    """Return whether a stream can be sent in answer to a request: not by WSGI, where it would take a whole thread."""
    return isinstance(request, ASGIRequest) and settings.STREAMS != "never"


def silence() -> float:
    """Return after how many seconds without anything to say a source has to yield ``NOTHING``."""
    return float(settings.STREAM_KEEP_ALIVE)


def streaming(view: View) -> View:
    """Make a view one that answers with a stream, or says that there is none now when the database doesn't answer."""

    @wraps(view)
    async def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            return await view(request, **kwargs)
        except (InterfaceError, OperationalError) as error:
            logger.warning("There was no stream, as the database did not answer: %s", error)
            return _later("unavailable", "There are no streams at the moment: ask again from time to time.")

    # Django refuses to make a transaction of an asynchronous view (``ATOMIC_REQUESTS``).
    return transaction.non_atomic_requests(guarded)


async def in_thread(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Call what works with the database in the request's thread, which keeps no connection afterwards.

    Django gives each request under ASGI a thread, and closes its connections only when the
    request ends. For a stream that is much too late.
    """

    def work() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            close_idle_connections()

    return await sync_to_async(work)()


def stream_response(request: HttpRequest, chunks: AsyncGenerator[bytes, None], **instead: str) -> HttpResponseBase:
    """Return the answer that streams ``chunks``, or the one that says why there is none.

    ``chunks`` begins to work when the first is asked for, may raise ``HubClosed``, and has to
    yield ``NOTHING`` whenever it has been silent for ``silence()`` seconds: then the stream is
    kept alive, or ended because of its age. ``instead`` names the addresses to ask in its place.
    """
    if not is_offered(request):
        where = "".join(f" Its {name} is at {url}." for name, url in instead.items())
        return _headed(problem(406, "no_streams", f"No streams are sent here: ask again from time to time.{where}"))
    if request.method == "HEAD":
        return _headed(HttpResponse())
    if len(_open) >= settings.MAX_STREAMS:
        return _later("too_many_streams", "There are too many streams: ask again from time to time.")
    if Hub.here().has_failed:
        return _later("unavailable", "There are no streams at the moment: ask again from time to time.")
    return _headed(Streamed(Stream(chunks)))


def finished() -> HttpResponse:
    """Return the answer by which a browser doesn't come back: there is nothing left to tell."""
    response = HttpResponse(status=204)
    del response["Content-Type"]
    return _headed(response)


def _later(code: str, why: str) -> HttpResponse:
    refusal = problem(503, code, why)
    refusal["Retry-After"] = str(random.randint(10, 30))  # noqa: S311
    return _headed(refusal)


def _headed(response: A) -> A:
    if response.status_code == 200:
        response["Content-Type"] = sse.CONTENT_TYPE
        # GZipMiddleware, and proxies like it, would collect what is to arrive now.
        response["Content-Encoding"] = "identity"
        response["X-Accel-Buffering"] = "no"
    response["Cache-Control"] = "private, no-store, no-transform"
    response["X-Content-Type-Options"] = "nosniff"
    patch_vary_headers(response, ["Cookie"])
    return response


class Streamed(StreamingHttpResponse):
    """A response whose stream is closed as soon as it is not read any more."""

    def __init__(self, stream: Stream) -> None:
        self._chunks = stream.chunks()
        super().__init__(self._chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own wraps it twice, and leaves the inner ones to the garbage collector. It is
        # needed where middleware has put something of its own around the chunks.
        is_bare = self._iterator is self._chunks  # type: ignore[attr-defined]
        return self._chunks if is_bare else super().__aiter__()


class Stream:
    """One open stream."""

    def __init__(self, source: AsyncGenerator[bytes, None]) -> None:
        self._source = source
        self._task: asyncio.Task[Any] | None = None
        self.handed_over: float | None = None
        """When its reader's server was given something that it has not taken yet."""
        _open.add(self)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the source's chunks, with what keeps the stream alive between them, until it is old."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        share = random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311
        end = loop.time() + settings.STREAM_LIFETIME * share
        _watch_over(loop)
        try:
            self.handed_over = loop.time()
            # At once: what waits for the first byte knows now that this works.
            yield sse.retry(random.randint(*RETRY))  # noqa: S311
            self.handed_over = None
            # Middleware may have opened one again, to store a session.
            await sync_to_async(close_idle_connections)()
            end_request_thread()
            async with aclosing(self._source) as source:
                async for chunk in source:
                    self.handed_over = now = loop.time()
                    yield chunk or sse.comment()
                    self.handed_over = None
                    if now >= end:
                        return
        except HubClosed:
            return
        except (DatabaseError, InterfaceError) as error:
            logger.warning("A stream was ended, as the database did not answer: %s", error)
        finally:
            self.handed_over = None
            _open.discard(self)

    def cut(self) -> None:
        """End it in spite of its reader, who takes nothing: he goes on from where he was when he comes back."""
        self.handed_over = None
        if self._task is not None:
            logger.info("A stream was cut whose reader took nothing for %s s.", PATIENCE)
            self._task.cancel()


_open: WeakSet[Stream] = WeakSet()
_watched_over: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def _watch_over(loop: asyncio.AbstractEventLoop) -> None:
    """See to it from time to time that no stream waits for its reader for ever; it can't see to that itself."""
    if loop not in _watched_over:
        _watched_over.add(loop)
        loop.call_later(PATIENCE / 4, _look_after, loop)


def _look_after(loop: asyncio.AbstractEventLoop) -> None:
    _watched_over.discard(loop)
    late = loop.time() - PATIENCE
    for stream in list(_open):
        if stream.handed_over is not None and stream.handed_over < late:
            stream.cut()
    if _open:
        _watch_over(loop)
