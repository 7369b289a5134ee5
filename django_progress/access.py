"""Who sees which process, and who may act on it: one policy, which a project can replace.

Its default: the owner; staff, by Django's permissions; those it is shared with, who only
see it; and the visitor without an account who started it. (Holders of a link see one page
of their own, see ``views/shared.py``.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q
from django.http import Http404, HttpRequest
from django.utils.module_loading import import_string

from . import visitors
from .conf import settings
from .models import Process, Share
from .querysets import UNSEEN, ProcessQuerySet

__all__ = [
    "UNSEEN", "Policy", "Who", "find", "get_or_404", "may_control", "may_see", "policy", "visible_among", "visible_to",
    "who_asks",
]  # fmt: skip

EVERYTHING = Q(pk__isnull=False)
NOTHING = Q(pk__in=())


class Who(NamedTuple):
    """Who is asking: an account, or a visitor without one."""

    user: Any = None
    visitor: str = ""

    @property
    def has_account(self) -> bool:
        """Whether it is somebody with an account."""
        return getattr(self.user, "pk", None) is not None

    @property
    def is_known(self) -> bool:
        """Whether it is anybody who could own something."""
        return self.has_account or bool(self.visitor)


class Policy:
    """Answers both questions, for lists by a condition and for one process by the same condition.

    To change the rules, override ``viewable()`` or ``controllable()`` and name the class in
    ``ACCESS_POLICY``. Whoever may control a process should be able to view it. They are only
    asked about whole processes: the steps of a workflow, which nobody owns, go by that.
    """

    def viewable(self, who: Who) -> Q:
        """Return the condition that the processes meet which ``who`` may see."""
        # As in Django's admin, whoever may change may view.
        if self.is_staff_with(who, "view_process") or self.is_staff_with(who, "change_process"):
            return EVERYTHING
        if who.has_account:
            return self.own(who) | Q(pk__in=Share.objects.filter(user_id=who.user.pk).values("process_id"))
        return self.own(who)

    def controllable(self, who: Who) -> Q:
        """Return the condition that the processes meet which ``who`` may cancel, retry and share."""
        return EVERYTHING if self.is_staff_with(who, "change_process") else self.own(who)

    def own(self, who: Who) -> Q:
        """Return the condition that the processes meet which ``who`` owns, or started as a visitor."""
        if who.has_account:
            return Q(owner_id=who.user.pk)
        return Q(visitor=who.visitor, owner_id=None) if who.visitor else NOTHING

    def may_view(self, who: Who, process: Process) -> bool:
        """Say whether ``who`` may see ``process``: without a query for those it belongs to."""
        process = process.parent or process
        if type(self).viewable is Policy.viewable and self.owns(who, process):
            return True
        return self._meets(self.viewable(who), process)

    def may_control(self, who: Who, process: Process) -> bool:
        """Say whether ``who`` may cancel, retry and share ``process``."""
        process = process.parent or process
        if type(self).controllable is Policy.controllable and self.owns(who, process):
            return True
        return self._meets(self.controllable(who), process)

    def owns(self, who: Who, process: Process) -> bool:
        """Say whether it belongs to ``who``, as :meth:`own` does."""
        if who.has_account:
            return bool(process.owner_id == who.user.pk)
        return bool(who.visitor) and process.owner_id is None and process.visitor == who.visitor

    @staticmethod
    def is_staff_with(who: Who, permission: str) -> bool:
        """Say whether it is staff with one of Django's permissions on processes."""
        user = who.user
        return bool(
            user is not None
            and user.is_active
            and getattr(user, "is_staff", False)  # Not every project's users have it.
            and user.has_perm(f"django_progress.{permission}")
        )

    @staticmethod
    def _meets(condition: Q, process: Process) -> bool:
        if condition is EVERYTHING or condition is NOTHING:
            return condition is EVERYTHING
        return bool(Process.objects.filter(condition, pk=process.pk).exists())


@lru_cache(maxsize=8)
def _policy(path: str) -> Policy:
    made: Policy = import_string(path)()
    return made


def policy() -> Policy:
    """Return the policy that ``ACCESS_POLICY`` names."""
    return _policy(settings.ACCESS_POLICY)


def who_asks(request: HttpRequest) -> Who:
    """Return who it is that makes a request."""
    user: Any = getattr(request, "user", None)
    known = getattr(user, "pk", None) is not None and user.is_active
    return Who(user if known else None, visitors.known(request))


def visible_to(request: HttpRequest) -> ProcessQuerySet:
    """Return the processes that whoever asks may see; the steps of workflows are reached through these."""
    return Process.objects.whole().filter(policy().viewable(who_asks(request)))


def visible_among(request: HttpRequest, **which: Any) -> dict[int, UUID]:
    """Return those that whoever asks may see of some processes, steps of workflows too: their keys by their pks."""
    seen = visible_to(request)
    steps = Process.objects.filter(parent__in=seen)
    return dict([*seen.filter(**which).values_list("pk", "key"), *steps.filter(**which).values_list("pk", "key")])


def may_see(request: HttpRequest, process: Process) -> bool:
    """Return whether it is one of those, or a step of one."""
    return policy().may_view(who_asks(request), process.parent or process)


def may_control(request: HttpRequest, process: Process) -> bool:
    """Return whether whoever asks may cancel, retry and share it, or the workflow that it is a step of."""
    return policy().may_control(who_asks(request), process.parent or process)


def find(request: HttpRequest, key: UUID) -> Process | None:
    """Return the process if it may be seen, with its expiry stored if that is due."""
    seen = visible_to(request)
    process = look_up(seen, key=key)
    if process is None:
        # A condition of a policy says nothing about the steps of a workflow: they are seen by whoever sees that.
        process = look_up(Process.objects.filter(parent__in=seen), key=key)
    if process is not None:
        hide_later(seen, process)
    return process


def hide_later(seen: ProcessQuerySet, process: Process) -> None:
    """Forget the retry that a process knows of, unless it may be seen too. No query where there is none."""
    later = process.__dict__.get("retried_key")
    if later and not seen.filter(key=later).exists():
        process.__dict__["retried_key"] = None


def look_up(rows: ProcessQuerySet, **which: Any) -> Process | None:
    """Return one of ``rows`` as the pages need it, with its expiry stored if that is due."""
    rows = rows.with_now().defer(*UNSEEN)
    process = rows.filter(**which).first()
    if process is not None and process.status != process.shown_status:
        process._expire_if_overdue(wait=False)
        process = rows.filter(**which).first()  # Somebody else may have stored it meanwhile.
    return process


def get_or_404(request: HttpRequest, key: UUID) -> Process:
    """Return the process, or raise the 404 that says nothing about why."""
    process = find(request, key)
    if process is None:
        raise Http404("No such process.")
    return process
