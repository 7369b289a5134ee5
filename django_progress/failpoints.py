"""Named points at which a test can make things go wrong: free while none is armed.

From Python, in this process::

    with failpoints.armed("end.before_commit", barrier.wait): ...

For the processes that a test starts, by the environment variable
``DJANGO_PROGRESS_FAILPOINTS``, entries separated by ";"::

    end.committed=kill@/tmp/once; claim.done=delay:2; sweep.chosen=wait:/tmp/go

==================  ================================================================
``kill``            kill this process with SIGKILL
``stop``            stop this process with SIGSTOP, until somebody continues it
``raise``           raise :class:`Failure`
``delay:SECONDS``   sleep
``wait:PATH``       create ``PATH.reached``, and go on once ``PATH`` is there (a minute at most)
``…@PATH``          do it only once, in whichever process creates ``PATH`` first
==================  ================================================================

Not for production: whoever can set a process's environment can break it anyway.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

__all__ = ["POINTS", "VARIABLE", "Failure", "arm_from", "armed", "reach"]

VARIABLE = "DJANGO_PROGRESS_FAILPOINTS"

POINTS = {
    "publish.before": "a start is committed, its message is not sent yet",
    "publish.sent": "the broker has taken the message, nothing is noted of it yet",
    "claim.before": "a message has arrived, its process is not claimed yet",
    "claim.done": "the claim is committed, the body has not begun",
    "body.returned": "the body has returned, nothing is settled yet",
    "end.before_commit": "the terminal status is written, its transaction is open",
    "end.committed": "an execution is settled and committed, its message is not acknowledged yet",
    "heartbeat.before": "a worker is about to renew its leases",
    "sweep.chosen": "the sweep has found an attempt to give up, and locked nothing yet",
    "beside.before": "a hint is about to be written beside the caller's transaction",
    "sweep.publishing": "the sweep has noted that it publishes a batch, and sent nothing yet",
    "sweep.locked": "the sweep holds the process and the attempt that it is about to give up",
}
"""Every point there is, and where it lies."""


class Failure(Exception):
    """What a point that is armed with ``raise`` raises."""


_armed: dict[str, Callable[[], object]] = {}


def reach(name: str) -> None:
    """Do what the point is armed with, if it is."""
    if _armed and (action := _armed.get(name)):
        action()


@contextmanager
def armed(name: str, action: Callable[[], object]) -> Iterator[None]:
    """Call ``action`` whenever the point is reached in this process, for the length of the block."""
    before = _armed.get(_known(name))
    _armed[name] = action
    try:
        yield
    finally:
        if before is None:
            _armed.pop(name, None)
        else:
            _armed[name] = before


def arm_from(text: str) -> None:
    """Arm what ``text``, in the environment variable's syntax, names. Raises ``ValueError``."""
    for entry in filter(None, map(str.strip, text.split(";"))):
        name, equals, action = entry.partition("=")
        if not equals:
            raise ValueError(f"{VARIABLE} must be made of name=action, not {entry!r}.")
        _armed[_known(name.strip())] = _action(action.strip())


def _known(name: str) -> str:
    if name not in POINTS:
        raise ValueError(f"There is no failpoint {name!r}; known are {', '.join(POINTS)}.")
    return name


def _action(spelled: str) -> Callable[[], object]:
    what, _, once = spelled.partition("@")
    verb, _, argument = what.partition(":")
    try:
        actions: dict[str, Callable[[], Callable[[], object]]] = {
            "kill": lambda: partial(_signal, signal.SIGKILL),
            "stop": lambda: partial(_signal, signal.SIGSTOP),
            "raise": lambda: _raise,
            "delay": lambda: partial(time.sleep, float(argument)),
            "wait": lambda: partial(_wait, Path(argument)),
        }
        action = actions[verb]()
    except (KeyError, ValueError):
        raise ValueError(f"A failpoint does kill, stop, raise, delay:SECONDS or wait:PATH, not {spelled!r}.") from None
    return partial(_once, Path(once), action) if once else action


def _signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def _raise() -> None:
    raise Failure("A failpoint is armed to raise.")


def _wait(path: Path, longest: float = 60.0) -> None:
    path.with_name(f"{path.name}.reached").touch()
    end = time.monotonic() + longest
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def _once(path: Path, action: Callable[[], object]) -> None:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return
    action()


arm_from(os.environ.get(VARIABLE, ""))
