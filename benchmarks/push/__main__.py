"""What live streams cost, beside a broadcaster that does nothing else.

    python -m benchmarks.push [sqlite|postgres|mariadb] [--wake-ups redis database] [--streams 1000] [--seconds 20]

Opens a thousand streams on one process, and one stream on each of a thousand, and makes ten updates a second in all.
Each measurement of ours follows one of the broadcaster (``bare.py``), under the same uvicorn and with the same reader.
Exits with an error if a claim doesn't hold. How long an update takes is an aim, said to be met or not: it
depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.databases import scratch_database
from benchmarks.push.measuring import Measured

LIMIT = 100.0
"""Milliseconds that the slowest hundredth of updates should take at most, where something wakes the streams."""
RATIO = 3.0
"""How many times as long as the broadcaster's that should be at most, with one process for all."""
CONNECTIONS = 2
QUERIES = 1.1
"""For an update: one, and a look now and then, in case a wake-up got lost."""


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.push", description=__doc__.splitlines()[0])
    parser.add_argument("vendor", nargs="?", default="sqlite", choices=("sqlite", "postgres", "mariadb"))
    parser.add_argument("--wake-ups", nargs="+", default=["redis", "database"], choices=("redis", "database"))
    parser.add_argument("--processes", nargs="+", choices=("one", "each"), default=["one", "each"])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=10, help="updates a second, in all")
    parser.add_argument("--query", default="", help="of the streams' address: format=html&as=status")
    parser.add_argument("--profile", action="store_true", help="show what the event loop spends its time on")
    asked = parser.parse_args()
    # So that being told to end also ends and removes what was started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    wrong = []
    with everything(asked) as redis:
        from benchmarks.push.cases import Case

        for wake_ups in asked.wake_ups:
            for processes in asked.processes:
                case = Case(
                    vendor=asked.vendor, wake_ups=redis if wake_ups == "redis" else "", count=asked.streams,
                    each=processes == "each", seconds=asked.seconds, rate=asked.rate, query=asked.query,
                )  # fmt: skip
                bare, ours = case.run_bare(), case.run_ours(profile=asked.profile)
                title = f"{asked.streams} streams on {processes} process, {asked.vendor}, woken by {wake_ups}"
                print(table(title, {"the bare broadcaster": bare, "ours": ours}), flush=True)
                if asked.profile:
                    print(ours.profile)
                if wake_ups == "redis":
                    print(*aims(bare, ours, is_compared=processes == "one"), sep="\n", flush=True)
                wrong += [f"{title}: {text}" for text in judge(ours)]
    for text in wrong:
        print(text)
    return 1 if wrong else 0


def judge(ours: Measured) -> Iterator[str]:
    """Yield what doesn't hold."""
    if ours.missed or ours.doubled:
        yield f"{ours.missed} events are missing, {ours.doubled} came again"
    if ours.connections > CONNECTIONS:
        yield f"{ours.connections} connections to the database"
    if ours.queries_per_update > QUERIES:
        yield f"{ours.queries_per_update:.2f} queries for an update"


def aims(bare: Measured, ours: Measured, *, is_compared: bool) -> Iterator[str]:
    """Yield for each aim whether it is met."""

    def said(text: str, is_met: bool) -> str:
        return f"  {text}: aim {'met' if is_met else 'not met'}"

    yield said(f"p99 at most {LIMIT:.0f} ms, is {ours.p99:.0f}", ours.p99 <= LIMIT)
    if is_compared:
        ratio = ours.p99 / bare.p99
        yield said(f"p99 at most {RATIO:.0f} times the broadcaster's, is {ratio:.1f} times", ratio <= RATIO)


def table(title: str, columns: dict[str, Measured]) -> str:
    """Return the numbers side by side."""
    rows = [
        ("commit to client, p50 ms", "p50", "10.1f"),
        ("commit to client, p99 ms", "p99", "10.1f"),
        ("server's CPU, cores", "cpu", "10.2f"),
        ("memory of a stream, kB", "memory", "10.1f"),
        ("threads", "threads", "10d"),
        ("database connections", "connections", "10d"),
        ("queries for an update", "queries_per_update", "10.2f"),
        ("permission queries a second", "permits_per_second", "10.1f"),
        ("events that had to arrive", "expected", "10d"),
        ("events missed", "missed", "10d"),
    ]
    lines = [title, f"{'':30}" + "".join(f"{name:>22}" for name in columns)]
    for label, name, form in rows:
        lines.append(
            f"  {label:28}" + "".join(f"{format(getattr(column, name), form):>22}" for column in columns.values())
        )
    return "\n".join(lines)


@contextmanager
def everything(asked: argparse.Namespace) -> Iterator[str]:
    """Have Django use an empty database, and a Redis of its own running where one is wanted; give its address."""
    os.environ["DJANGO_PROGRESS_TEST_SETTINGS"] = json.dumps({"WAKE_UPS": ""})
    with ExitStack() as stack:
        stack.enter_context(scratch_database(asked.vendor))
        from tests.private import private_redis

        yield stack.enter_context(private_redis()).url if "redis" in asked.wake_ups else ""


if __name__ == "__main__":
    sys.exit(main())
