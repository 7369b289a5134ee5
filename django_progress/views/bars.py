"""Progress bars: a share of the work, time against a deadline, or neither."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext

from ..snapshot import Snapshot
from ..status import Status
from . import wording

__all__ = ["Bar", "bar_of"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A progress bar; ``value`` is None when how much is done can't be known."""

    value: float | None
    most: float
    text: str = ""
    """What is written beside it: a share, or time that has passed."""
    is_time: bool = False
    """Whether it shows time against a deadline, and not a share of work."""


def bar_of(shown: Snapshot) -> Bar | None:
    """Return the bar of a process; None where one would say something that isn't known."""
    if shown.status == Status.SUCCEEDED:
        return Bar(1, 1)
    if shown.percent is not None:
        # Whatever ended otherwise is not shown as full.
        share = int(shown.percent)
        if shown.is_active or share < 100:
            return Bar(share, 100, wording.percentage(share))
        return Bar(99, 100)
    if not shown.is_active:
        return None
    if shown.max_duration is None or shown.has_counts:
        return Bar(None, 1)
    passed = min(wording.rounded(shown.elapsed), shown.max_duration)
    times = {"passed": wording.duration(passed), "most": wording.duration(shown.max_duration)}
    return Bar(passed, shown.max_duration, gettext("%(passed)s of at most %(most)s") % times, is_time=True)
