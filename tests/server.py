"""What the private servers of tests/private.py have in common: the life of a server program.

It listens on a free port of 127.0.0.1 and keeps its files in a folder of its own. It ends with the process that
started it, even if that is killed: the kernel sees to it (Linux only).
"""

from __future__ import annotations

import ctypes
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from tempfile import mkdtemp
from typing import IO, Any

from tests import services

__all__ = ["HOST", "Server", "SilentPort", "find_program", "heed_interrupts", "launch", "refused_port"]

HOST = "127.0.0.1"
# Debian keeps PostgreSQL's off the PATH, and puts a script that changes the user before RabbitMQ's.
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/local/sbin")
# Seconds for a start, and for a stop before it becomes a kill: the machine may be busy.
PATIENCE = 60

_prctl = ctypes.CDLL(None, use_errno=True).prctl
_PR_SET_PDEATHSIG = 1
# The kernel counts the thread that started a process as its parent, so one that lasts has to.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")


def find_program(name: str) -> str | None:
    """Return the path of a server's program; the newest, where there are several versions."""
    for folder in FOLDERS:
        if found := sorted(glob.glob(f"{folder}/{name}")):
            return found[-1]
    return shutil.which(name)


def refused_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def heed_interrupts() -> None:
    """Take SIGINT as a terminal's user expects: a shell has what it starts in the background ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def launch(command: list[str], *, cwd: Path, env: Mapping[str, str], log: IO[bytes], **options: Any) -> Popen[bytes]:
    """Start a program that leads a process group of its own and is killed when this program ends, however it does."""

    def end_with_parent() -> None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        heed_interrupts()

    def start() -> Popen[bytes]:
        return Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
            **options,
        )

    return _starter.submit(start).result()


class SilentPort:
    """A port that takes connections and never says a word, for the length of a ``with`` block."""

    def __enter__(self) -> SilentPort:
        # The kernel accepts for us, as many as fit the backlog.
        self._socket = socket.create_server((HOST, 0), backlog=512)
        self.port = int(self._socket.getsockname()[1])
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()


class Server(ABC):
    """A server program, from its first start to the removal of its files."""

    name: str
    # The programs that have to be there.
    programs: tuple[str, ...]
    # The signal that asks it to end soon, without waiting for its clients.
    ending = signal.SIGTERM
    # Who runs it where the tests run as root; most servers refuse root.
    user: str | None = None

    def __init__(self) -> None:
        for program in self.programs:
            if not find_program(program):
                services.miss(self.name, f"no program {program}")
        self.account = pwd.getpwnam(self.user) if self.user and os.geteuid() == 0 else None
        # Not pytest's folder, which another user can't reach.
        self.folder = Path(mkdtemp(prefix=f"django_progress_{self.name}_"))
        if self.account:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)
        self.log = self.folder / "log"
        self.port = refused_port()
        self.process: Popen[bytes] | None = None

    # What a kind of server says about itself

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """Return what starts it, in the foreground."""

    @property
    def environ(self) -> Mapping[str, str]:
        """Return what it needs in its environment beside what is there."""
        return {}

    def prepare(self) -> None:
        """Make what it needs before its first start."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def is_up(self) -> bool:
        """Tell whether it answers now."""

    # Lives

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self.process is None, "It runs already."
        self.process = self.spawn(self.command)
        end = time.monotonic() + PATIENCE
        while not self.is_up():
            code = self.process.poll()
            if code is not None or time.monotonic() > end:
                reason = "doesn't answer" if code is None else f"ended with {code}"
                raise RuntimeError(f"The private {self.name} {reason}:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, and kill it if it won't."""
        if self.process:
            with suppress(ProcessLookupError):
                self.process.send_signal(self.ending)
                self.thaw()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
            self.kill()

    def kill(self) -> None:
        """Kill it and all that it started, as the machine's death would."""
        if self.process:
            self._send(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Stop it and start it again, on the same port and with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks: it accepts connections, by the kernel, and answers nothing."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    @abstractmethod
    def empty(self) -> None:
        """Forget everything that it holds for others."""

    def remove(self) -> None:
        """End it and delete its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Processes

    def spawn(self, command: list[str]) -> Popen[bytes]:
        """Start a program of it, which ends with this one."""
        with self.log.open("ab") as log:
            return launch(command, cwd=self.folder, env={**os.environ, **self.environ}, log=log, **self._identity)

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of it to its end, and return what it prints."""
        path = find_program(program)
        assert path is not None, f"no program {program}"
        try:
            return subprocess.run(
                [path, *arguments],
                cwd="/",  # theirs may be gone
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
                **self._identity,
            ).stdout
        except subprocess.CalledProcessError as error:
            error.add_note(f"{error.stdout}\n{error.stderr}")
            raise

    @property
    def _identity(self) -> dict[str, Any]:
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    @property
    def family(self) -> list[int]:
        """The ids of its processes. Those of PostgreSQL lead sessions of their own, so a group isn't enough."""
        found = [self.pid] if self.process else []
        for pid in found:
            with suppress(OSError):
                for path in Path(f"/proc/{pid}/task").glob("*/children"):
                    found += map(int, path.read_text().split())
        return found

    def _send(self, number: signal.Signals) -> None:
        reached: set[int] = set()
        # Again, for those that were just being started.
        while new := set(self.family) - reached:
            for pid in sorted(new):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            reached |= new

    def _ask(self, question: bytes, answer: Callable[[bytes], bool]) -> bool:
        """Tell whether its answer to ``question`` is right."""
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(question)
            return answer(connection.recv(64))
        return False
