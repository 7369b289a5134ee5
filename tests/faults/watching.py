"""What a test looks at: a process as somebody else sees it, and what lies on a broker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kombu.transport import virtual

from django_progress import engines
from django_progress.models import Process
from django_progress.status import TERMINAL
from django_progress.sweep import sweep
from django_progress.tasks import CeleryEngine
from tests.workers import ROOT, Broker, environ, wait_until


def ended(process: Process, timeout: float = 60) -> Process:
    """Wait until the row says that it is over. Reads only: nobody but workers writes."""

    def look() -> bool:
        process.refresh_from_db()
        return process.status in TERMINAL

    wait_until(look, timeout=timeout, what=f"{process.task_name} to end, which is {process.status}")
    return process


def outcomes(process: Process) -> list[str]:
    return list(process.attempts.order_by("number").values_list("outcome", flat=True))


def wait_for_beat(process: Process) -> None:
    """Wait until the lease of its attempt is renewed."""
    [until] = process.attempts.values_list("lease_until", flat=True)
    wait_until(process.attempts.filter(lease_until__gt=until).exists, timeout=60, what="a beat")


def messages(broker: Broker) -> int:
    """Return how many messages wait on the broker for a worker."""
    with broker.connection() as connection:
        channel = connection.default_channel
        if isinstance(channel, virtual.Channel):
            return int(channel._size(broker.queue))  # Redis has no empty queue that could be declared.
        return int(channel.queue_declare(broker.queue, passive=True).message_count)


def sweep_until(broker: Broker, count: int = 0, *, at_least: int = 0) -> None:
    """Sweep, as a program does that has just started, until so many messages wait on the broker."""
    engines.register(CeleryEngine())

    def look() -> bool:
        sweep()
        return messages(broker) >= max(count, at_least)

    wait_until(look, timeout=60, what=f"{count or at_least} messages")
    assert at_least or messages(broker) == count


def run_program(lines: str, broker: Broker, env: Mapping[str, str]) -> int:
    """Run a program that uses the tests' database and publishes to ``broker``; return how it ended."""
    command = [sys.executable, "-c", f"import django\ndjango.setup()\n{lines}"]
    program = subprocess.run(
        command, cwd=ROOT, env={**environ(broker), **env}, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    return program.returncode


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, even if its parent has not asked yet how (Linux only)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


KILLED = -signal.SIGKILL


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    begin = time.monotonic()
    yield
    assert (took := time.monotonic() - begin) < seconds, f"It took {took:.1f} s."
