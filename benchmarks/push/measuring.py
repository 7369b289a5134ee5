"""One measurement: a server, a program that reads from it, and updates whose way is timed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.server import HOST, launch, refused_port

__all__ = ["Measured", "Update", "measure"]

ROOT = Path(__file__).resolve().parent.parent.parent
SETTLING = 3.0
"""Seconds in which what belongs to opening is over, and in which the last update arrives."""

Update = Callable[[random.Random], tuple[Sequence[int], int, float]]
"""Commit something; return the streams that must hear of it, its number, and when it was committed."""


@dataclass
class Measured:
    """What came of it. Times are in ms, memory is in kB."""

    p50: float
    p99: float
    updates: int
    seconds: float
    expected: int
    missed: int
    doubled: int
    cpu: float
    memory: float
    threads: int
    connections: int
    queries: dict[str, int] = field(default_factory=dict)
    profile: str = ""

    @property
    def queries_per_update(self) -> float:
        """How often processes and events were asked for."""
        return (self.queries.get("processes", 0) + self.queries.get("events", 0)) / self.updates

    @property
    def permits_per_second(self) -> float:
        """How often sessions and users were asked for, while streams are open."""
        return self.queries.get("permits", 0) / self.seconds


def measure(
    application: str,
    streams: Sequence[tuple[str, str]],
    update: Update,
    *,
    env: Mapping[str, str],
    seconds: float,
    rate: float,
    replays: bool,
    count_connections: Callable[[int], int] = lambda pid: 0,
    profile: bool = False,
) -> Measured:
    """Serve ``application``, open ``streams`` (path and cookies), and time ``rate`` updates a second.

    ``replays`` says whether a stream begins with what has happened before.
    """
    chance = random.Random(1)
    with _server(application, env) as server, _readers() as readers:
        server.ask("/gauges")
        empty = server.ask("/gauges")
        say(readers, {"port": server.port, "replays": replays, "streams": streams})
        assert readers.stdout is not None
        if readers.stdout.readline() != "open\n":
            raise RuntimeError("The streams can't be opened.")
        time.sleep(SETTLING)
        before = server.ask("/gauges?profile=on" if profile else "/gauges")
        committed: dict[tuple[int, int], float] = {}
        connections = 0
        begin = due = time.monotonic()
        updates = 0
        while due < begin + seconds:
            # Not in step with anything that looks at intervals.
            due += chance.uniform(0.8, 1.2) / rate
            time.sleep(max(0.0, due - time.monotonic()))
            heard_by, number, moment = update(chance)
            committed.update(((stream, number), moment) for stream in heard_by)
            updates += 1
            if updates % 20 == 0:
                connections = max(connections, count_connections(server.process.pid))
        after = server.ask("/gauges?profile=off" if profile else "/gauges")
        time.sleep(SETTLING)
        notes = say(readers, None)
    arrived: dict[tuple[int, int], float] = {}
    doubled = 0
    for stream, number, moment in notes:
        if (stream, number) in committed:
            doubled += (stream, number) in arrived
            arrived.setdefault((stream, number), moment)
    times = [(moment - committed[key]) * 1e3 for key, moment in arrived.items()] or [float("nan")] * 2
    cuts = quantiles(times, n=100)
    elapsed = after["clock"] - before["clock"]
    return Measured(
        p50=cuts[49], p99=cuts[98], updates=updates, seconds=elapsed,
        expected=len(committed), missed=len(committed) - len(arrived), doubled=doubled,
        cpu=(after["cpu"] - before["cpu"]) / elapsed,
        memory=(before["memory"] - empty["memory"]) / len(streams) / 1e3,
        threads=after["threads"], connections=connections,
        queries={name: count - before["queries"].get(name, 0) for name, count in after["queries"].items()},
        profile=after["profile"],
    )  # fmt: skip


@dataclass
class Server:
    """A uvicorn with one process."""

    process: subprocess.Popen[bytes]
    port: int

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=60) as response:
            return json.load(response)


@contextmanager
def _server(application: str, env: Mapping[str, str]) -> Iterator[Server]:
    port = refused_port()
    command = [sys.executable, "-m", "uvicorn", application, "--host", HOST, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = launch(
            [*command, "--no-access-log", "--log-level", "warning"], cwd=ROOT, env={**os.environ, **env}, log=log
        )
        try:
            server = Server(process, port)
            end = time.monotonic() + 30
            while True:
                try:
                    server.ask("/gauges")
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > end:
                        raise
                    time.sleep(0.1)
            yield server
        except BaseException as error:
            log.seek(0)
            error.add_note(f"The server's log:\n{log.read().decode()[-4000:]}")
            raise
        finally:
            # Not asked to: whether it ends in order is the tests' concern.
            process.kill()
            process.wait()


@contextmanager
def _readers() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.push.readers"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say(readers: subprocess.Popen[str], asked: Any) -> list[tuple[int, int, float]]:
    """Tell the program what to open; or, for None, to end, and return what it noted."""
    assert readers.stdin is not None
    assert readers.stdout is not None
    readers.stdin.write(json.dumps(asked) + "\n")
    readers.stdin.flush()
    return json.loads(readers.stdout.readline() or "[]") if asked is None else []
