"""The floor: an application that does nothing but hand on what it is told, to all that ask for it.

No Django, no database, no permissions, nothing that could be missed and asked for again. It is told by lines on a
socket: a topic, a number, and what to send.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict

from benchmarks.push.gauges import Message, Receive, Send, with_gauges

__all__ = ["FEED", "application"]

FEED = "BENCHMARK_FEED"
"""The variable with the port on which it is told."""
HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]

_readers: defaultdict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        topic, number, data = line.decode().rstrip("\n").split(" ", 2)
        chunk = f"id: {number}\ndata: {data}\n\n".encode()
        for queue in _readers[topic]:
            queue.put_nowait(chunk)
    writer.close()


async def _live(receive: Receive, send: Send) -> None:
    """Be told for as long as the server runs."""
    await receive()
    async with await asyncio.start_server(_listen, "127.0.0.1", int(os.environ[FEED])):
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def broadcast(scope: Message, receive: Receive, send: Send) -> None:
    """Hand on what comes in for the topic that the address names."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _readers[scope["path"].strip("/")].add(queue)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    while True:
        await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})


application = with_gauges(broadcast)
