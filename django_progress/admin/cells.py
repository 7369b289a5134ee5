"""How single values look in admin, in the list and on the page of one process alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from ..status import Outcome, Status
from ..views import wording

if TYPE_CHECKING:
    from ..models import Attempt, Process

__all__ = [
    "EMPTY", "amount", "badge", "duration", "outcome", "pairs", "preformatted", "pretty_json", "progress", "share",
    "status", "time_taken",
]  # fmt: skip

EMPTY = "-"  # As in the rest of the admin.
MAX_CHARACTERS = 20_000
"""What is shown of one long value; the rest is only counted."""


def status(process: Process) -> SafeString:
    """Return the status as a word with a sign, so that it doesn't depend on seeing colours."""
    shown = process.shown_status
    note = _("asked to stop") if process.is_stopping else ""
    return format_html(
        "{}{}",
        badge(shown.value, shown.label),
        format_html(' <span class="quiet dp-note">{}</span>', note) if note else "",
    )


def outcome(attempt: Attempt) -> SafeString:
    """Return how an attempt ended, as :func:`status` does."""
    shown = Outcome(attempt.outcome)
    return badge(shown.value or "running", shown.label)


def badge(name: str, word: object) -> SafeString:
    """Return a word with the sign of a status."""
    return format_html('<span class="dp-status dp-{}">{}</span>', name, word)


def share(fraction: float) -> str:
    """Return a part of the whole."""
    return wording.percentage(100 * fraction) if fraction else EMPTY


def progress(process: Process, *, both: bool = False) -> SafeString | str:
    """Return how far it is: counted work only, for time is no share of work; ``both`` adds the count to the share."""
    shown, percent = process.shown_status, process.percent
    counted = process.total is not None or process.current > 0
    succeeded, active = shown == Status.SUCCEEDED, process.is_active
    if succeeded:
        value, text = 1.0, amount(process) if counted else ""
    elif not counted:
        # That it was started goes without saying.
        reached = "" if process.milestone_name == "started" else str(process.reached)
        return format_html("<bdi>{}</bdi>", Truncator(reached).chars(80)) if reached else EMPTY
    elif percent is None or (percent >= 100 and not active):
        # Whatever ended badly did not do all of it, even if it had counted to the end.
        return progress_bar(process, None, amount(process)) if shown == Status.RUNNING else amount(process)
    else:
        value = percent / 100
        text = wording.percentage(percent) if active else amount(process)
        if active and both and not process.workflow:
            text = _("%(share)s (%(amount)s)") % {"share": text, "amount": amount(process)}
    return progress_bar(process, value, text)


def progress_bar(process: Process, value: float | None, text: str) -> SafeString:
    """Return a native bar with a name of its own; without ``value`` it is indeterminate."""
    return format_html(
        '<span class="dp-progress"><progress aria-label="{}"{}></progress> <span>{}</span></span>',
        _("Progress of %(title)s") % {"title": Truncator(process.title).chars(80)},
        "" if value is None else format_html(' max="1" value="{}"', f"{value:.4f}"),
        text,
    )


def amount(process: Process) -> str:
    """Return the work that was counted, such as "1,240 of 3,000 rows"; of a workflow that is a share already."""
    if process.workflow and process.unit == "%":
        return wording.percentage(process.current)
    return wording.counted(process.current, process.total, process.unit)


def time_taken(process: Process) -> str:
    """Return how long it has taken; while it is active, against what it may take."""
    elapsed = duration(process.elapsed)
    if not process.is_active or process.expires_at is None:
        return elapsed
    longest = (process.expires_at - process.created_at).total_seconds()
    return _("%(elapsed)s of at most %(longest)s") % {"elapsed": elapsed, "longest": duration(longest)}


def duration(seconds: float | None) -> str:
    """Return a length of time, if there is one."""
    return EMPTY if seconds is None else wording.duration(seconds)


def pretty_json(value: Any, *, limit: int = MAX_CHARACTERS) -> SafeString | str:
    """Return JSON, indented."""
    return preformatted("" if value in (None, [], {}) else json.dumps(value, indent=2, ensure_ascii=False), limit=limit)


def preformatted(text: str, *, limit: int = MAX_CHARACTERS) -> SafeString | str:
    """Return a text as it is, and say how much of it is left out."""
    if not text:
        return EMPTY
    left_out = len(text) - limit
    # It scrolls, so the keyboard must reach it.
    shown = format_html('<pre class="dp-pre" tabindex="0">{}</pre>', text[:limit])
    if left_out <= 0:
        return shown
    note = _("%(count)s more characters are not shown.") % {"count": wording.amount(left_out)}
    return format_html('{}<p class="quiet">{}</p>', shown, note)


def pairs(rows: Iterable[tuple[Any, Any]]) -> SafeString | str:
    """Return names and values as a list of definitions."""
    shown = format_html_join("", "<div><dt><bdi>{}</bdi></dt><dd><bdi>{}</bdi></dd></div>", rows)
    return format_html('<dl class="dp-pairs">{}</dl>', shown) if shown else EMPTY
