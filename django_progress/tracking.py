"""Numbers: how far a process is. Ticks are gathered and written at most twice a second."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any, TypeVar

from . import execution, values
from .guarding import Guarded
from .twins import twin
from .writes import Add, AtLeast, NewEvent, Peak

__all__ = ["Tracking"]

T = TypeVar("T")

SMOOTHING = 0.3
"""Weight of the newest sample in the rate: an exponentially weighted mean."""


class Tracking(Guarded):
    """The verbs that report numbers."""

    if TYPE_CHECKING:
        current: float
        total: float | None
        initial_total: float | None
        unit: str

        def set_message(self, key: str, value: object) -> None: ...

    def advance(self, by: float = 1) -> None:
        """Report that ``by`` more units of work are done.

        Written at once when nothing was written for half a second, else with the next
        report. Raises ``ValueError`` for a negative or endless amount.
        """
        ticks = self._ticks()
        by = values.number(by, "by")
        with ticks.lock:
            ticks.added += by
        self._flush_when_due(ticks)

    def set_progress(self, current: float, total: float | None = None, unit: str = "") -> None:
        """Report that ``current`` units are done, of ``total`` if that is known.

        The count never falls within one attempt: a lower ``current`` is ignored. A total
        of 0 stands for "nothing to do". Written as :meth:`advance` is.
        """
        current = values.number(current, "current")
        if total is not None:
            total = values.number(total, "total")
        unit = values.text(unit, "unit", limit=32)
        ticks = self._ticks()
        with ticks.lock:
            # What was advanced and is not written yet counts too.
            ticks.current = max(current, self._ahead(ticks)[0] if ticks.pending else 0.0)
            ticks.added = 0.0
            if total is not None:
                ticks.total = total
            if unit:
                ticks.unit = unit
        self._flush_when_due(ticks)

    def track(
        self, iterable: Iterable[T], *, total: float | None = None, unit: str = "", description: str = ""
    ) -> Iterator[T]:
        """Yield the items of ``iterable`` and report each one when its turn is over.

        The total is the length, where there is one and ``start(total=…)`` named none.
        Following another ``track()`` it adds to what that one counted. ``description`` is
        shown as the message "Stage".
        """
        size: float | None = None
        if total is not None:
            size = values.number(total, "total")
        elif self.initial_total is None and isinstance(iterable, Sized):
            size = float(len(iterable))
        unit = values.text(unit, "unit", limit=32)
        if description:
            self.set_message("Stage", description)
        return self._track(iterable, size, unit)

    def _track(self, iterable: Iterable[T], size: float | None, unit: str) -> Iterator[T]:
        ticks = self._ticks()
        with ticks.lock:
            if size is not None:
                ticks.total = self._ahead(ticks)[0] + size
            if unit:
                ticks.unit = unit
        if ticks.pending:
            self._flush(ticks)
        clock = time.monotonic
        due = clock() + ticks.flush_every
        # Where every write finds it, also one that is caused by what the loop's body raises.
        counter = [0, 0]
        ticks.counters.append(counter)
        try:
            for item in iterable:
                yield item
                counter[0] += 1
                # Reading the clock costs 75 ns. Strides that adapt cost less and go silent after a burst.
                if clock() >= due:
                    self._flush(ticks)
                    due = clock() + ticks.flush_every
        finally:
            # Also when the loop is left early: the next report, or the end, writes it.
            with ticks.lock:
                ticks.gather()
                ticks.counters = [other for other in ticks.counters if other is not counter]
        if ticks.pending:
            self._flush(ticks)

    def _ticks(self) -> execution.Ticks:
        executing = self._execution()
        if executing is not None:
            return executing.ticks
        ticks: execution.Ticks = self.__dict__.setdefault("_own_ticks", execution.Ticks())
        return ticks

    def _flush_when_due(self, ticks: execution.Ticks) -> None:
        if time.monotonic() - ticks.flushed_at >= ticks.flush_every:
            self._flush(ticks)

    def _check_when_due(self) -> None:
        """Do what a checkpoint does, as often as numbers are written."""
        ticks = self._ticks()
        if time.monotonic() - max(ticks.flushed_at, ticks.checked_at) >= ticks.flush_every:
            ticks.checked_at = time.monotonic()
            self._flush(ticks)

    def _flush(self, ticks: execution.Ticks) -> None:
        event = None
        if time.monotonic() - ticks.event_at >= ticks.event_every and self._has_room():
            ticks.event_at = time.monotonic()
            current, total, unit = self._ahead(ticks)
            details = {"current": current, "total": total, "unit": unit}
            event = NewEvent("progress", details=details)
        self._hint(event)

    def _ahead(self, ticks: execution.Ticks) -> tuple[float, float | None, str]:
        """Return the numbers as they will be once ``ticks`` are written."""
        ticks.gather()
        current = max(self.current, ticks.current or 0.0) + ticks.added
        total = self.total if ticks.total is None else ticks.total
        return current, total, self.unit if ticks.unit is None else ticks.unit

    def _columns(self, ticks: execution.Ticks, numbers: execution.Numbers) -> dict[str, Any]:
        """Return the columns that ``numbers``, taken from ``ticks``, change."""
        if numbers == execution.NOTHING:
            return {}
        before = self.current
        current = max(before, numbers.current or 0.0) + numbers.added
        changes: dict[str, Any] = {"percent_peak": Peak()}
        if numbers.current is not None:
            changes["current"] = AtLeast(numbers.current, numbers.added)
        elif numbers.added:
            changes["current"] = Add(numbers.added)
        if numbers.total is not None:
            changes["total"] = numbers.total
        if numbers.unit is not None:
            changes["unit"] = numbers.unit
        now = time.monotonic()
        gone, ticks.flushed_at = now - ticks.flushed_at, now
        if 0 < gone < 3600 and current > before:
            sample = (current - before) / gone
            ticks.rate = sample if ticks.rate is None else SMOOTHING * sample + (1 - SMOOTHING) * ticks.rate
            ticks.samples += 1
            changes["rate"] = ticks.rate
            changes["samples"] = ticks.samples
        return changes

    aadvance = twin(advance)
    aset_progress = twin(set_progress)
