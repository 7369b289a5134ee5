"""What else there is to say about a wait: who is ahead, whether anybody works, what went wrong, how long it is quiet.

None of it is announced: it changes too often for that, and is there to be read.
"""

from __future__ import annotations

from django.utils.translation import gettext, ngettext

from .. import history
from ..models import Process
from ..snapshot import Snapshot
from ..waiting import MOST, Wait
from . import wording

__all__ = ["notes_of"]

UNTAKEN = 5.0
"""Seconds that workers have to take what they may begin, before it is said that none does."""
SETTLED = 10.0
"""Seconds after which what is next in its queue says so: most are taken before."""
WONDER = 20.0
"""Seconds before which nobody asks whether it takes longer than usual."""
MUCH_LONGER = 1.5
"""How many times as long as usual it takes before it is said."""
UNHEARD = 30.0
"""Seconds without a report after which one wonders."""


def notes_of(shown: Snapshot, process: Process) -> tuple[str, ...]:
    """Return what else there is to say about the wait of a process, a sentence each. A query now and then."""
    if shown.quiet is not None:
        return _silent(shown) if shown.is_silent else (*_late(shown, process), *_quiet(shown))
    if shown.wait is None:
        return ()
    setback = (shown.wait.setback,) if shown.wait.setback else ()
    return (*setback, *_queued(shown, shown.wait))


def _silent(shown: Snapshot) -> tuple[str, ...]:
    if shown.cancel_requested:
        return (gettext("Its worker has gone silent. If it doesn't come back, this will end as cancelled."),)
    if shown.attempt < shown.max_attempts:
        return (gettext("If it doesn't come back, this will be tried again."),)
    return (gettext("If it doesn't come back, this will end as failed."),)


def _late(shown: Snapshot, process: Process) -> tuple[str, ...]:
    if shown.cancel_requested or shown.elapsed < WONDER:
        return ()
    usual = history.usual_duration(process)
    if usual is None or shown.elapsed < max(usual * MUCH_LONGER, usual + SETTLED):
        return ()
    return (
        gettext("This is taking longer than usual; others took about %(time)s.") % {"time": wording.duration(usual)},
    )


def _quiet(shown: Snapshot) -> tuple[str, ...]:
    seconds = shown.quiet or 0.0
    if seconds < UNHEARD:
        return ()
    # Coarsely: what changes with every poll makes nobody calm.
    words = {"time": wording.duration(seconds // 60 * 60 if seconds >= 60 else UNHEARD)}
    if shown.cancel_requested:
        return (gettext("It stops when it next reports; its last news was %(time)s ago.") % words,)
    return (gettext("Still working; last news %(time)s ago.") % words,)


def _queued(shown: Snapshot, wait: Wait) -> tuple[str, ...]:
    # For a worker; negative while it waits for its time to come.
    waited = (shown.now - max(shown.updated_at, shown.next_attempt_at or shown.updated_at)).total_seconds()
    if wait.listening is False and waited >= UNTAKEN:
        return (
            gettext("No worker is taking this kind of work at the moment."),
            gettext("It stays in the queue and starts as soon as one does."),
        )
    if wait.ahead is None:
        return ()
    if wait.ahead >= MOST:
        return (
            gettext("More than %(count)s others are ahead of it in the queue.") % {"count": wording.amount(MOST - 1)},
        )
    if wait.ahead:
        words = {"count": wording.amount(wait.ahead)}
        return (
            ngettext(
                "%(count)s other is ahead of it in the queue.",
                "%(count)s others are ahead of it in the queue.",
                wait.ahead,
            )
            % words,
        )
    return (gettext("It is next in the queue."),) if waited >= SETTLED else ()
