"""The example's server and worker, as processes of their own, started and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.core.management import CommandError

__all__ = ["HOST", "Service", "choose_port", "migrate", "run"]

HOST = "127.0.0.1"
STARTING = 60.0
"""Seconds in which a service must be ready."""
STOPPING = 15.0
"""Seconds in which it must have ended when it is asked to. Celery takes five even when it has nothing to do."""
LAST_WORDS = 3
"""Seconds in which the server may finish what it is answering; open streams end by themselves."""


class Service:
    """A program that leads a process group of its own: Ctrl-C reaches only us, and stopping it stops its children."""

    def __init__(self, name: str, command: Sequence[str], environ: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, "-m", *command],
                cwd=settings.BASE_DIR,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ``CommandError`` with the end of its log if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise CommandError(f"The {self.name} has ended with code {code}. Its log ends with:\n{self.last_lines()}")

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait until it is ready; raise ``CommandError`` if it ends before that, or takes too long."""
        end = time.monotonic() + STARTING
        while not is_ready():
            self.check()
            if time.monotonic() > end:
                raise CommandError(
                    f"The {self.name} is not ready after {STARTING:g} s. Its log ends with:\n{self.last_lines()}"
                )
            time.sleep(0.1)

    def has_said(self, text: str) -> bool:
        """Say whether ``text`` is in its log."""
        return text in self.log.read_text(errors="replace")

    def last_lines(self, count: int = 30) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its children, if any are left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@contextmanager
def run(data_dir: Path, port: int, *, patience: float = STOPPING) -> Iterator[list[Service]]:
    """Run server and worker for the length of the block; after it, and ``patience``, nothing of them is left."""
    environ = _environ(data_dir, port)
    logs = data_dir / "logs"
    logs.mkdir(exist_ok=True)
    server_command = ["uvicorn", "example_project.asgi:application", "--host", HOST, "--port", str(port)]
    worker_command = ["celery", "--app", "example_project", "worker", "--concurrency", "2", "--loglevel", "INFO"]
    services: list[Service] = []
    try:
        server = Service(
            "server",
            # Django knows nothing of ASGI's "lifespan".
            [*server_command, "--lifespan", "off", "--timeout-graceful-shutdown", str(LAST_WORDS)],
            environ,
            logs / "server.log",
        )
        services.append(server)
        worker = Service(
            "worker",
            [*worker_command, "--without-gossip", "--without-mingle", "--without-heartbeat"],
            # With DEBUG Django would remember every query of a worker.
            {**environ, "EXAMPLE_DEBUG": "0"},
            logs / "worker.log",
        )
        services.append(worker)
        # It says its address once the port is its own; until then another program might answer there.
        url = environ["EXAMPLE_URL"]
        server.wait_until(lambda: server.has_said(url) and _answers(url))
        worker.wait_until(lambda: worker.has_said(" ready."))
        yield services
    finally:
        _stop(services, patience)


def migrate(data_dir: Path) -> None:
    """Bring the database up to date; this also makes the demo's user."""
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
        cwd=settings.BASE_DIR,
        env=_environ(data_dir, 0),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CommandError(f"The database can't be migrated:\n{done.stderr}")


def choose_port(*wanted: int) -> int:
    """Return the first of the ``wanted`` ports that is free; 0 stands for any."""
    for port in wanted:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise CommandError(f"Port {wanted[0]} is in use, or not allowed. Choose another, or leave out --port.")


def _environ(data_dir: Path, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "EXAMPLE_DATA_DIR": str(data_dir),
        "EXAMPLE_DEBUG": "1",
        "EXAMPLE_DEMO": "1",
        "EXAMPLE_URL": f"http://{HOST}:{port}",
        "PYTHONUNBUFFERED": "1",
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except OSError:
        return False


def _stop(services: Sequence[Service], patience: float) -> None:
    """Ask all to end, and kill what is left of them after ``patience``; at once if Ctrl-C is pressed again."""
    for service in services:
        with suppress(ProcessLookupError):
            service.process.terminate()
    end = time.monotonic() + patience
    try:
        for service in services:
            with suppress(subprocess.TimeoutExpired):
                service.process.wait(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:
        pass
    finally:
        for service in services:
            service.signal(signal.SIGKILL)
            service.process.wait()
