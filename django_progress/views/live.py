"""What a live region shows, and the token by which a poll tells whether that is still so."""

from __future__ import annotations

from functools import cached_property
from urllib.parse import urlencode, urlsplit

from django.urls import reverse
from django.utils.translation import gettext

from .. import snapshot
from ..models import Process
from ..responses import poll_interval
from ..status import Status
from ..waiting import wait_of
from . import wording
from .bars import Bar, bar_of
from .overrides import templates
from .polls import digest, element_id, trigger
from .telling import TELLING, Telling

__all__ = ["MODES", "Live", "onward"]

MODES = {"wait": "process-wait-fragment"} | dict.fromkeys(("status", "bar", "processing"), "process-status-fragment")
"""The ways to show one process, and the address that each of them polls."""

QUIET = 10.0
"""Seconds during which nothing is said about time."""


def onward(process: Process) -> str:
    """Return where the wait page of a finished process leads: never back to itself."""
    url = process.finished_url
    return process.get_absolute_url() if urlsplit(url).path == process.get_wait_url() else url


class Live(Telling):
    """One process as a live region shows it, in the language that is active.

    Everything that changes what is shown is in ``token``, so two that are equal look alike.
    """

    def __init__(
        self,
        process: Process,
        mode: str,
        *,
        host_url: str = "",
        polls: bool = True,
        is_personal: bool = False,
        copy: int = 1,
        polled_at: str = "",
        shared_by: str = "",
    ) -> None:
        self.process = process
        self.mode = mode
        self.polls = polls
        """Whether it is kept up to date: not for those whose polls would be refused."""
        self.is_personal = is_personal
        """Whether it is shown to somebody who is logged in, and may be led to log in again."""
        self.copy = copy
        """The how-manieth it is of its kind in a page; every one has ids of its own."""
        self.polled_at = polled_at
        """The address that it polls, where that isn't the usual one."""
        self.shared_by = shared_by
        """The name of who shares it with whoever is looking."""
        self.host_url = host_url
        """The page on which the region stands, where that has to be fetched."""
        self.snapshot = snapshot.build(process, wait=wait_of(process) if mode in TELLING else None)
        self.key = self.snapshot.key
        self.is_active = self.snapshot.is_active
        self.id = element_id(mode, self.key, copy)

    # -- the protocol ------------------------------------------------------------------

    @cached_property
    def interval(self) -> float | None:
        """Seconds between polls; None when there is nothing to wait for."""
        return poll_interval(self.snapshot) if self.is_active and self.polls else None

    @property
    def trigger(self) -> str:
        """When it polls."""
        return trigger(self.interval or 1.0)

    @cached_property
    def token(self) -> str:
        """What a poll carries, and compares."""
        shown = self.snapshot
        return digest(
            [
                self.mode, shown.key, shown.revision, shown.status.value, self.state, self.interval, self.is_quiet,
                shown.cancel_requested, shown.retried_as, self.elapsed_text, self.left_text,
                self.bar and (self.bar.value, self.bar.text), self.notes, self.clock,
            ]
        )  # fmt: skip

    @property
    def poll_url(self) -> str:
        """The address to poll."""
        query = {"dp-shown": self.token}
        if self.is_personal:
            query["dp-for"] = "1"
        if self.copy > 1:
            query["dp-copy"] = str(self.copy)
        if self.mode in ("bar", "processing"):
            query["as"] = self.mode
        address = self.polled_at or reverse(f"django_progress:{MODES[self.mode]}", args=[self.key])
        return f"{address}?{urlencode(query)}"

    @property
    def is_ready(self) -> bool:
        """Whether the host page has to be fetched, since it now shows what this stood in for."""
        return self.mode == "processing" and self.snapshot.status == Status.SUCCEEDED

    @property
    def templates(self) -> list[str]:
        """The templates of what is inside."""
        name = "wait" if self.mode == "processing" else self.mode
        return templates(self.snapshot.kind, f"live/{name}.html")

    @property
    def is_for_holders(self) -> bool:
        """Whether it is shown to whoever holds a link: they may look at nothing else, and change nothing."""
        return self.mode == "shared"

    # -- what is shown -----------------------------------------------------------------

    @cached_property
    def state(self) -> str:
        """How the wait is going: queued, scheduled, soon, running, silent, cancelling, or how it ended."""
        shown = self.snapshot
        if not shown.is_active:
            return shown.status.value
        if shown.cancel_requested:
            return "cancelling"
        if shown.status == Status.RUNNING:
            return "silent" if shown.is_silent else "running"
        if shown.next_attempt_at is None or shown.next_attempt_at <= shown.now:
            return "queued"
        return "scheduled" if (shown.next_attempt_at - shown.now).total_seconds() >= 60 else "soon"

    @property
    def is_again(self) -> bool:
        """Whether what it waits for is another attempt at the same thing."""
        return self.snapshot.status == Status.PENDING and self.snapshot.attempt > 0

    @property
    def attempt(self) -> int:
        """Which attempt this is, or will be; 0 where that needs no mention."""
        shown = self.snapshot
        if shown.max_attempts < 2 or not shown.is_active:
            return 0
        return shown.attempt + 1 if self.is_again else shown.attempt if shown.status == Status.RUNNING else 0

    @cached_property
    def is_quiet(self) -> bool:
        """Whether it is too early to talk about time."""
        return self.is_active and self.snapshot.elapsed < QUIET

    @cached_property
    def bar(self) -> Bar | None:
        """The bar; None where one would say something that isn't known."""
        return bar_of(self.snapshot)

    @property
    def is_exceeded(self) -> bool:
        """Whether more is done than there was said to be, so that nobody knows how much there is."""
        shown = self.snapshot
        return shown.is_active and shown.total is not None and shown.current > shown.total

    @property
    def count_text(self) -> str:
        """How much is done; nothing where that is a share already, as of a workflow."""
        shown = self.snapshot
        if self.process.workflow and shown.unit == "%":
            return ""
        total = None if self.is_exceeded else shown.total
        return wording.counted(shown.current, total, shown.unit) if shown.has_counts else ""

    @property
    def count_below(self) -> str:
        """How much is done, where the bar has a label above it, or nothing."""
        return self.count_text if self.label or not self.share_text else ""

    @cached_property
    def elapsed_text(self) -> str:
        """How long it has taken; nothing while it is early, or where the bar says so."""
        if self.is_quiet or (self.bar is not None and self.bar.is_time):
            return ""
        return wording.duration(self.snapshot.elapsed)

    @cached_property
    def left_text(self) -> str:
        """About how long it will still take."""
        eta = self.snapshot.eta
        return "" if eta is None or self.is_quiet or self.is_exceeded or not self.is_active else wording.time_left(eta)

    @property
    def has_moved(self) -> bool:
        """Whether it has reached a milestone of its own."""
        return self.process.milestone_name != "started"

    @property
    def label(self) -> str:
        """What the bar is labelled with: the last milestone; before the first, where nothing else does, the title."""
        if self.has_moved:
            return self.snapshot.milestone
        return self.snapshot.title if self.mode == "bar" else ""

    @property
    def share_text(self) -> str:
        """How much is done, as a share."""
        return self.bar.text if self.bar is not None and not self.bar.is_time else ""

    @property
    def onward(self) -> str:
        """Where it leads now that it has ended; nothing when that is its status page, or where few may follow."""
        if self.is_active or self.is_for_holders:
            return ""
        url = onward(self.process)
        return "" if url == self.snapshot.url else url

    @property
    def again_url(self) -> str:
        """The status page of the process that tries it again."""
        return "" if self.is_for_holders else self.snapshot.retried_as

    @property
    def may(self) -> str:
        """What can be done, as far as the process is concerned: words, of which the stylesheet makes use."""
        shown = self.snapshot
        if self.is_for_holders or shown.retried_as:
            return ""
        may = {"cancel": shown.may_cancel, "retry": shown.may_retry, "rerun": shown.may_rerun}
        return " ".join(word for word, is_so in may.items() if is_so)

    @property
    def title(self) -> str:
        """The page's title while somebody waits."""
        if self.is_active and self.snapshot.percent is not None:
            return f"{wording.percentage(self.snapshot.percent)} · {self.snapshot.title}"
        return self.snapshot.title

    @property
    def said(self) -> str:
        """What is announced when it changes: milestones, quarters and the end."""
        shown = self.snapshot
        if not shown.is_active:
            words = {"title": shown.title, "status": shown.status.label}
            return gettext("%(title)s: %(status)s") % words
        quarter = int(shown.percent // 25) * 25 if shown.percent is not None else 0
        return ", ".join([shown.milestone, *([wording.percentage(quarter)] if quarter else [])])

    @property
    def refresh_after(self) -> int:
        """Seconds after which a page without scripts loads itself again: longer as the wait grows."""
        elapsed = self.snapshot.elapsed
        return 3 if elapsed < QUIET else 5 if elapsed < 60 else 15 if elapsed < 600 else 60
