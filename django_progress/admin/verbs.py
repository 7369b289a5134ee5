"""The verbs that staff may use on processes, and what is said about what came of each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from ..exceptions import NothingFailed, ProcessActive, ProcessFinished, RetryNotPossible
from ..sharing import revoke_share_urls, working_links
from ..workflows import retry_failed

if TYPE_CHECKING:
    from ..models import Process

__all__ = ["VERBS", "Result", "Verb"]

logger = logging.getLogger("django_progress")


class Result(Enum):
    """What came of a verb."""

    CANCELLED = "cancelled"
    ASKED = "asked"
    EXPIRED = "expired"
    STARTED = "started"
    REVOKED = "revoked"
    NO_LINKS = "no links"
    FINISHED = "finished"
    ACTIVE = "active"
    NO_TASK = "no task"
    NO_WORKFLOW = "no workflow"
    NOTHING_FAILED = "nothing failed"
    BROKEN = "broken"

    @property
    def level(self) -> int:
        """The level of its message."""
        if self in LOGGED:
            return messages.SUCCESS
        return messages.ERROR if self is Result.BROKEN else messages.WARNING

    @property
    def logged(self) -> str:
        """What the admin's history of the process keeps of it; nothing if nothing was done."""
        return str(LOGGED.get(self, ""))

    def say(self, count: int) -> str:
        """Return the message for so many processes."""
        return str(MESSAGES[self] % {"count": count})


LOGGED = {
    Result.CANCELLED: _("Cancelled."),
    Result.ASKED: _("Asked to stop."),
    Result.EXPIRED: _("Expired."),
    Result.STARTED: _("Started again."),
    Result.REVOKED: _("Links revoked."),
}
MESSAGES: dict[Result, Any] = {
    Result.CANCELLED: ngettext_lazy("%(count)d process was cancelled.", "%(count)d processes were cancelled.", "count"),
    Result.ASKED: ngettext_lazy(
        "%(count)d process was asked to stop; it does so at its next report.",
        "%(count)d processes were asked to stop; they do so at their next report.",
        "count",
    ),
    Result.EXPIRED: ngettext_lazy("%(count)d process was expired.", "%(count)d processes were expired.", "count"),
    Result.STARTED: ngettext_lazy(
        "%(count)d process was started again.", "%(count)d processes were started again.", "count"
    ),
    Result.REVOKED: ngettext_lazy(
        "The links to %(count)d process were revoked.", "The links to %(count)d processes were revoked.", "count"
    ),
    Result.NO_LINKS: ngettext_lazy(
        "%(count)d process was left as it is, because no link leads to it.",
        "%(count)d processes were left as they are, because no links lead to them.",
        "count",
    ),
    Result.FINISHED: ngettext_lazy(
        "%(count)d process was left as it is, because it has finished.",
        "%(count)d processes were left as they are, because they have finished.",
        "count",
    ),
    Result.ACTIVE: ngettext_lazy(
        "%(count)d process can't be started again before it has finished.",
        "%(count)d processes can't be started again before they have finished.",
        "count",
    ),
    Result.NO_TASK: ngettext_lazy(
        "%(count)d process can't be started again, because it has no task.",
        "%(count)d processes can't be started again, because they have no task.",
        "count",
    ),
    Result.NO_WORKFLOW: ngettext_lazy(
        "%(count)d process has no steps that could run again.",
        "%(count)d processes have no steps that could run again.",
        "count",
    ),
    Result.NOTHING_FAILED: ngettext_lazy(
        "%(count)d process was left as it is, because all its steps have succeeded.",
        "%(count)d processes were left as they are, because all their steps have succeeded.",
        "count",
    ),
    Result.BROKEN: ngettext_lazy(
        "%(count)d process was left as it is, because of an error that is in the log.",
        "%(count)d processes were left as they are, because of errors that are in the log.",
        "count",
    ),
}


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that staff may do to a process."""

    name: str
    label: Promise
    act: Callable[[Process, Any], tuple[Result, Process]]
    fits: Callable[[Process], bool]
    """Whether it is worth a button."""

    def apply(self, process: Process, user: Any) -> tuple[Result, Process]:
        """Do it, and return what came of it and the process that matters now. Never raises."""
        try:
            return self.act(process, user)
        except ProcessFinished:
            return Result.FINISHED, process
        except ProcessActive:
            return Result.ACTIVE, process
        except NothingFailed:
            return Result.NOTHING_FAILED, process
        except RetryNotPossible as reason:
            # With a cause it is a workflow that can't be planned again, and that is in the log.
            return (Result.BROKEN if reason.__cause__ else Result.NO_TASK), process
        except Exception:
            logger.exception("%s of process %s in admin failed", self.name, process.key)
            return Result.BROKEN, process


def _cancel(process: Process, user: Any) -> tuple[Result, Process]:
    if process.is_finished:
        return Result.FINISHED, process
    return (Result.CANCELLED if process.cancel(by=user) else Result.ASKED), process


def _expire(process: Process, user: Any) -> tuple[Result, Process]:
    if process.is_finished:
        return Result.FINISHED, process
    process.expire(by=user)
    return Result.EXPIRED, process


def _retry(process: Process, user: Any) -> tuple[Result, Process]:
    return Result.STARTED, process.retry(by=user)


def _rerun_failed(process: Process, user: Any) -> tuple[Result, Process]:
    if not process.workflow:
        return Result.NO_WORKFLOW, process
    return Result.STARTED, retry_failed(process, by=user)


def _may_start_again(process: Process) -> bool:
    return process.is_finished and process.parent_id is None and bool(process.task_name or process.workflow)


def _revoke(process: Process, user: Any) -> tuple[Result, Process]:
    return (Result.REVOKED if revoke_share_urls(process, by=user) else Result.NO_LINKS), process


VERBS = {
    verb.name: verb
    for verb in (
        Verb("cancel", _("Cancel"), _cancel, lambda process: process.is_active and not process.is_stopping),
        Verb("expire", _("Expire"), _expire, lambda process: process.is_active),
        Verb("retry", _("Start again"), _retry, _may_start_again),
        Verb(
            "rerun_failed",
            _("Run what failed again"),
            _rerun_failed,
            lambda process: bool(process.workflow) and _may_start_again(process),
        ),
        Verb("revoke", _("Revoke links"), _revoke, lambda process: working_links(process).exists()),
    )
}
