"""What a live region has room to tell, besides how the process stands."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from ..models import Event, Process
from ..snapshot import Snapshot, newest_milestones
from .notes import notes_of
from .step_row import LINES
from .steps import RECENT, StepTree

__all__ = ["TELLING", "Telling"]

MILESTONES = 50
"""How many milestones, of the newest, are listed."""
RESULT = 10_000
"""Characters of a result that are shown."""
TELLING = {"wait", "status", "processing", "shared"}
"""The ways to show one process that have room for more than how it stands."""
CLOCK = 10.0
"""Seconds after which the steps of a workflow tell the time again, whatever has happened."""


class Telling:
    """What pages show below the bar, each read when a template asks for it."""

    if TYPE_CHECKING:
        process: Process
        mode: str
        snapshot: Snapshot
        is_active: bool

        @property
        def is_for_holders(self) -> bool: ...

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What else there is to say about the wait, a sentence each."""
        return notes_of(self.snapshot, self.process) if self.mode in TELLING else ()

    @cached_property
    def milestones(self) -> list[Event]:
        """The newest milestones, in order. One query, when it is asked for."""
        newest = newest_milestones(self.process, MILESTONES)
        if self.snapshot.started_at is None:
            # It was requested; nobody has taken it yet.
            return [event for event in newest if event.name != "started"]
        return newest

    @property
    def has_earlier(self) -> bool:
        """Whether there may be milestones before those."""
        return len(self.milestones) == MILESTONES

    @property
    def result(self) -> str:
        """The result as text; only what is no larger than a page."""
        result = self.process.result
        text = result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)
        return "" if result is None else text if len(text) <= RESULT else f"{text[:RESULT]}…"

    @property
    def has_steps(self) -> bool:
        """Whether it is a workflow, and its steps are shown."""
        return bool(self.process.workflow) and self.mode in TELLING - {"processing"}

    @cached_property
    def steps(self) -> StepTree | None:
        """The steps of a workflow. Four queries at most, when it is asked for."""
        if not self.has_steps:
            return None
        return StepTree(self.process, is_active=self.is_active, is_linked=not self.is_for_holders)

    @cached_property
    def log(self) -> list[Event]:
        """The newest lines of the log of a process that is a step, on its own page. One query, for such a one."""
        if self.process.parent_id is None or self.mode != "status":
            return []
        since = self.process.last_seq - RECENT
        newest = self.process.event_set.filter(type="log", seq__gt=since).order_by("-seq")
        return list(newest[:LINES])[::-1]

    @property
    def has_earlier_lines(self) -> bool:
        """Whether there may be lines before those."""
        return len(self.log) == LINES

    @property
    def clock(self) -> int:
        """A number that changes when the steps have to tell the time again."""
        return int(self.snapshot.elapsed // CLOCK) if self.has_steps and self.is_active else 0
