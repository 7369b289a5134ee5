"""Numbers and times in words, in the language that is active."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext, ngettext, pgettext

__all__ = ["amount", "counted", "duration", "moment", "percentage", "rounded", "time_left"]

MINUTE, HOUR, DAY = 60, 3600, 86400


def rounded(seconds: float) -> int:
    """Return seconds, rounded down as coarsely as :func:`duration` shows them."""
    step = 1 if seconds < MINUTE else 10 if seconds < 10 * MINUTE else MINUTE if seconds < DAY else HOUR
    return int(seconds // step * step)


def duration(seconds: float) -> str:
    """Return a length of time: "8 s", "2 min 10 s", "1 h 5 min"."""
    whole = rounded(seconds)
    if whole < MINUTE:
        return gettext("%(count)d s") % {"count": whole}
    minutes, rest = divmod(whole, MINUTE)
    if whole < HOUR:
        return _joined(gettext("%(count)d min") % {"count": minutes}, gettext("%(count)d s") % {"count": rest}, rest)
    hours, minutes = divmod(minutes, 60)
    if whole < DAY:
        return _joined(
            gettext("%(count)d h") % {"count": hours}, gettext("%(count)d min") % {"count": minutes}, minutes
        )
    days, hours = divmod(hours, 24)
    return _joined(
        ngettext("%(count)d day", "%(count)d days", days) % {"count": days},
        gettext("%(count)d h") % {"count": hours},
        hours,
    )


def _joined(large: str, small: str, rest: int) -> str:
    return pgettext("duration", "%(large)s %(small)s") % {"large": large, "small": small} if rest else large


def time_left(seconds: float) -> str:
    """Return an estimate of what is left, as roughly as it is known."""
    if seconds < 5:
        return gettext("a few seconds left")
    if seconds < 55:
        return gettext("about %(count)d seconds left") % {"count": max(10, round(seconds / 10) * 10)}
    minutes = round(seconds / MINUTE)
    if minutes < 55:
        return ngettext("about %(count)d minute left", "about %(count)d minutes left", minutes) % {"count": minutes}
    hours = round(seconds / HOUR)
    if hours < 36:
        return ngettext("about %(count)d hour left", "about %(count)d hours left", hours) % {"count": hours}
    days = round(seconds / DAY)
    return ngettext("about %(count)d day left", "about %(count)d days left", days) % {"count": days}


def amount(value: float) -> str:
    """Return a number as it is written: whole where it is, else with two decimals."""
    return number_format(int(value) if value == int(value) else round(value, 2), use_l10n=True, force_grouping=True)


def counted(current: float, total: float | None, unit: str) -> str:
    """Return how much is done: "1,240 rows", "11,760 of 28,000 rows"."""
    words = {"done": amount(current), "total": "" if total is None else amount(total), "unit": unit}
    if total is None:
        return (gettext("%(done)s %(unit)s") if unit else gettext("%(done)s done")) % words
    return (gettext("%(done)s of %(total)s %(unit)s") if unit else gettext("%(done)s of %(total)s")) % words


def percentage(percent: float) -> str:
    """Return a share, rounded down so that it is not full too early."""
    return gettext("%(percent)s %%") % {"percent": amount(int(percent))}


def moment(value: datetime, now: datetime | None = None) -> str:
    """Return a time of today, or a date and time, in the time zone that is active."""
    local, today = timezone.localtime(value), timezone.localtime(now)
    return date_format(local, "TIME_FORMAT" if local.date() == today.date() else "DATETIME_FORMAT")
