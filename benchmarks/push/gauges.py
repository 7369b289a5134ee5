"""What a server process says about itself, at an address of its own: ``/gauges``."""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from resource import getpagesize
from typing import Any

__all__ = ["Application", "queries", "with_gauges"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

queries: Counter[str] = Counter()
"""How many there have been, by what they were about."""
_profile = cProfile.Profile()


def with_gauges(application: Application) -> Application:
    """Return ``application`` with the address beside it. What is open costs nothing more."""

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/gauges":
            await application(scope, receive, send)
            return
        body = json.dumps(_read(scope["query_string"].decode())).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def _read(profile: str) -> dict[str, Any]:
    """Return the numbers of now; ``profile=on`` and ``profile=off`` profile the event loop in between."""
    text = ""
    if profile == "profile=on":
        _profile.enable()
    elif profile == "profile=off":
        _profile.disable()
        stream = io.StringIO()
        pstats.Stats(_profile, stream=stream).sort_stats("tottime").print_stats(40)
        text = stream.getvalue()
    return {
        "clock": time.monotonic(),
        "cpu": time.process_time(),
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize(),
        "threads": threading.active_count(),
        "queries": dict(queries),
        "profile": text,
    }
