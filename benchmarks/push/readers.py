"""A program that opens many streams and notes when each event came: ``python -m benchmarks.push.readers``.

Reads one line of JSON: ``{"port": …, "replays": …, "streams": [[path, cookie], …]}``. Prints ``open`` once all of them
are, and have brought an event if they begin with a replay; reads until it is told to end by another line, and prints
``[[stream, id, time], …]``. Times are of the monotonic clock, which all processes of a machine share. It is one loop
over epoll, since what it takes is taken from the server.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
import time

# Of those that aren't open yet.
AT_ONCE = 8
ID = re.compile(rb"^id: ?(\d+)\r?$", re.MULTILINE)


class Stream:
    """One connection, from its request to its last event."""

    def __init__(self, number: int, port: int, path: str, cookie: str) -> None:
        self.number = number
        self.is_open = False
        self.rest = b""
        self.socket = socket.create_connection(("127.0.0.1", port))
        lines = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: text/event-stream", f"Cookie: {cookie}", "", "")
        self.socket.sendall("\r\n".join(lines).encode())
        self.socket.setblocking(False)

    def read(self) -> list[int]:
        """Return the ids of the events that have come. Raises ``ConnectionError`` when it is over."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"Stream {self.number} has ended.")
        data = self.rest + data
        if not self.is_open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.rest = head
                return []
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ConnectionError(f"Stream {self.number} was answered:\n{head.decode()}\n{data.decode()}")
            self.is_open = True
        whole, end, self.rest = data.rpartition(b"\n\n")
        return [int(found) for found in ID.findall(whole + end)]


def main() -> None:
    """Open, read, and print what came."""
    asked = json.loads(sys.stdin.readline())
    waiting = [(number, asked["port"], *rest) for number, rest in enumerate(asked["streams"])][::-1]
    count = len(waiting)
    poll = select.epoll()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    streams: dict[int, Stream] = {}
    notes: list[tuple[int, int, float]] = []
    opening: set[Stream] = set()
    opened = 0
    gc.disable()
    while True:
        while waiting and len(opening) < AT_ONCE:
            stream = Stream(*waiting.pop())
            streams[stream.socket.fileno()] = stream
            opening.add(stream)
            poll.register(stream.socket.fileno(), select.EPOLLIN)
        for file, _events in poll.poll():
            if file == sys.stdin.fileno():
                print(json.dumps(notes))
                return
            stream = streams[file]
            ids = stream.read()
            now = time.monotonic()
            for number in ids:
                notes.append((stream.number, number, now))
            if stream in opening and stream.is_open and (ids or not asked["replays"]):
                opening.discard(stream)
                opened += 1
                if opened == count:
                    print("open", flush=True)


if __name__ == "__main__":
    main()
