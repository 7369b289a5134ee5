"""A uvicorn of one's own, in a process of its own, against the tests' database.

    with serve(STREAM_KEEP_ALIVE=0.2) as site:
        with site.client(user) as client, site.stream(client, process) as events:
            ...

It sees only what is committed, hence ``django_db(transaction=True)``.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from httpx_sse import EventSource, ServerSentEvent

from django_progress.models import Process
from tests import databases
from tests.server import HOST, Server
from tests.workers import wait_until

__all__ = ["Reader", "Site", "client_of", "objects", "serve", "url"]

ROOT = Path(__file__).resolve().parent.parent.parent


class Site(Server):
    """The tests' site."""

    name = "uvicorn"
    programs = ()

    def __init__(self, application: str, chosen: Mapping[str, Any]) -> None:
        super().__init__()
        self.application, self.chosen = application, chosen
        self.url = f"http://{HOST}:{self.port}"

    @property
    def command(self) -> list[str]:
        options = {"host": HOST, "port": self.port, "log-level": "info", "lifespan": "off"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "uvicorn", self.application, *words, "--no-access-log"]

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            **databases.environ(),
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DJANGO_PROGRESS_TEST_SETTINGS": json.dumps(self.chosen),
        }

    def is_up(self) -> bool:
        return self._ask(b"GET /nothing/ HTTP/1.0\r\n\r\n", lambda answer: answer.startswith(b"HTTP/1.1 404"))

    def empty(self) -> None:
        """Hold nothing."""

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    @property
    def connections(self) -> int:
        """How many connections to the database it has."""
        entry = connection.settings_dict
        if connection.vendor == "sqlite":
            return _open_files(self.pid).count(str(entry["NAME"]))
        return _established(self.pid, int(entry["PORT"]))

    @property
    def memory(self) -> int:
        """Bytes that it has in memory now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def client(self, user: User | None = None, **options: Any) -> httpx.Client:
        """Return somebody who asks it."""
        # Less than a stream may be silent, so that one that should have ended is found out.
        return client_of(user, base_url=self.url, timeout=12, **options)

    @contextmanager
    def stream(self, client: httpx.Client, process: Process, query: str = "", **headers: str) -> Iterator[Any]:
        """Read a stream; what is given is an iterator of its events by an independent parser."""
        with client.stream("GET", url("stream", process, query), headers=headers) as response:
            assert response.status_code == 200, response.read()
            yield EventSource(response).iter_sse()


@contextmanager
def serve(application: str = "tests.push.asgi:application", **chosen: Any) -> Iterator[Site]:
    """Serve the tests' site, with these settings of the app, for the length of the block."""
    site = Site(application, {**settings.DJANGO_PROGRESS, **chosen})
    try:
        site.start()
        yield site
    finally:
        site.remove()


def _established(pid: int, port: int) -> int:
    """Return how many connections a process has to a port."""
    sockets = {f"socket:[{row[9]}]" for row in _tcp() if row[3] == "01" and int(row[2].rpartition(":")[2], 16) == port}
    return sum(name in sockets for name in _open_files(pid))


def _open_files(pid: int) -> list[str]:
    names = []
    with suppress(FileNotFoundError):  # ended meanwhile
        for file in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile
                names.append(os.readlink(f"/proc/{pid}/fd/{file}"))
    return names


def _tcp() -> Iterator[list[str]]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                yield line.split()


class Reader:
    """A stream over a socket of one's own, of which nothing is read that isn't asked for."""

    def __init__(self, site: Site, client: httpx.Client, process: Process, query: str = "") -> None:
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        self.socket = socket.socket()
        # Before the connection is made, so that the window never grows.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(20)
        self.socket.connect((HOST, site.port))
        lines = [f"GET {url('stream', process, query)} HTTP/1.1", f"Host: {HOST}", f"Cookie: {cookies}", "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    @classmethod
    def let_in(cls, *asking: Any) -> Reader:
        """Ask until there is a place for another stream."""

        def ask() -> Reader | None:
            reader = cls(*asking)
            if b" 200 " in reader.read_until(b"\r\n\r\n"):
                return reader
            reader.socket.close()
            return None

        found: Reader = wait_until(ask, what="a place for a stream")
        return found

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def read_until(self, what: bytes) -> bytes:
        """Read as far as that at least."""
        said = b""
        while what not in said:
            piece = self.socket.recv(4096)
            assert piece, said
            said += piece
        return said


def client_of(user: User | None, **options: Any) -> httpx.Client:
    """Return a client of httpx that is logged in."""
    cookies = {}
    if user is not None:
        known = Client()
        known.force_login(user)
        cookies = {name: cookie.value for name, cookie in known.cookies.items()}
    return httpx.Client(cookies=cookies, **options)


def url(name: str, process: Process, query: str = "") -> str:
    return reverse(f"django_progress:process-{name}", args=[process.key]) + query


def objects(events: list[ServerSentEvent]) -> list[dict[str, Any]]:
    """Return what events carry, less the advice when to come back, which carries nothing."""
    return [event.json() for event in events if event.data]
