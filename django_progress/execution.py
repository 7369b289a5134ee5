"""Which attempt is executing here: what fences its writes, and what its body asked for.

The context variable makes every write of an executing attempt carry its token, however
the instance was obtained. Threads that a body starts itself don't inherit context
variables; there the process that the body was given still knows its execution.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .conf import settings

__all__ = ["NOTHING", "Execution", "MilestoneReached", "Numbers", "Ticks", "current"]


@dataclass(frozen=True, slots=True)
class MilestoneReached:
    """A milestone: its name and what it says in the language that is active now."""

    name: str
    description: str = ""

    def __str__(self) -> str:
        return self.description or self.name


class Numbers(NamedTuple):
    """Reported numbers on their way into the row."""

    added: float
    current: float | None
    total: float | None
    unit: str | None


NOTHING = Numbers(0.0, None, None, None)


class Sampled(NamedTuple):
    """What the rate is made of."""

    flushed_at: float
    rate: float | None
    samples: int


@dataclass(slots=True)
class Ticks:
    """Reported numbers that are not written yet. The threads of a body may share them."""

    added: float = 0.0
    current: float | None = None
    total: float | None = None
    unit: str | None = None
    flushed_at: float = -1e9
    checked_at: float = -1e9
    passed_on_at: float = -1e9
    """When what a step reported was last passed on to its workflow."""
    event_at: float = field(default_factory=time.monotonic)
    flush_every: float = field(default_factory=lambda: settings.REPORT_INTERVAL)
    event_every: float = field(default_factory=lambda: settings.PROGRESS_EVENT_INTERVAL)
    rate: float | None = None
    samples: int = 0
    taken: list[tuple[Numbers, Sampled]] = field(default_factory=list)
    """What the writes took that the transaction has made which is open, or was the last."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    counters: list[list[int]] = field(default_factory=list)
    """Of each loop that is being tracked: how many items are done, and how many of them were taken."""

    @property
    def pending(self) -> bool:
        self.gather()
        return bool(self.added) or self.current is not None or self.total is not None or self.unit is not None

    def gather(self) -> None:
        """Add what tracked loops have counted. Only they raise the one number, and only this the other."""
        with self.lock:
            for counter in self.counters:
                done = counter[0]
                self.added += done - counter[1]
                counter[1] = done

    def take(self) -> Numbers:
        """Take what is to be written now; nobody else will write it."""
        with self.lock:
            self.gather()
            taken = Numbers(self.added, self.current, self.total, self.unit)
            self.added = 0.0
            self.current = self.total = self.unit = None
            return taken

    def is_passed_on(self, began: float, numbers: Numbers, event: str | None) -> bool:
        """Say whether a step tells its workflow of what it began to write then; that counts as told.

        Numbers are, whenever they are written by themselves. Other events, of which there may
        be many more, are no more often than that: what comes sooner is shown with the next,
        or when the page next tells the time. A claim is told by itself.
        """
        if event == "attempt" or (event is None and numbers == NOTHING):
            return False
        is_flush = numbers != NOTHING and event in (None, "progress")
        if not is_flush and began - self.passed_on_at < self.flush_every:
            return False
        self.passed_on_at = began
        return True

    def sampled(self) -> Sampled:
        """Return what the rate is made of."""
        return Sampled(self.flushed_at, self.rate, self.samples)

    def give_back(self, most: int = 100) -> None:
        """Keep for the next write what was taken for the last writes, which did not last."""
        for _ in range(min(most, len(self.taken))):
            numbers, before = self.taken.pop()
            self.put_back(numbers)
            self.flushed_at, self.rate, self.samples = before

    def put_back(self, taken: Numbers) -> None:
        """Keep for the next write what this one did not take."""
        with self.lock:
            self.added += taken.added
            self.current = taken.current if self.current is None else self.current
            self.total = taken.total if self.total is None else self.total
            self.unit = taken.unit if self.unit is None else self.unit


@dataclass(slots=True, eq=False)
class Execution:
    """One execution of a task's body, as its worker knows it."""

    process_id: int
    attempt_id: int
    token: str
    number: int
    lease: float
    beat: float
    milestone: MilestoneReached
    committed: bool = True
    """Whether its claim was committed when it began; not in a caller's transaction (eager mode)."""
    ticks: Ticks = field(default_factory=Ticks)
    finished: bool = False
    """Whether a verb called in the body has finished the process."""
    asked: str = ""
    """What the body asked for at its end: "", "requeue" or "again" (a failed attempt)."""
    delay: float | None = None
    process: Any = None
    renewed_at: float = field(default_factory=time.monotonic)
    """When a report last renewed the lease (SQLite, inside the caller's transaction)."""


current: ContextVar[Execution | None] = ContextVar("django_progress_execution", default=None)
