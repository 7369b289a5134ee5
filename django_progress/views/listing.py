"""One page of "my processes"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from ..access import UNSEEN, Policy, Who, policy
from ..clock import DatabaseNow
from ..conf import settings
from ..models import Process, Share
from ..querysets import ProcessQuerySet
from ..status import ACTIVE, Status
from .live import Live
from .polls import digest, trigger

__all__ = ["Listing"]


@dataclass(frozen=True)
class Listing:
    """Somebody's processes, newest first, from ``before`` on, of one status or kind if that is given."""

    who: Who
    status: str = ""
    kind: str = ""
    before: str = ""

    @classmethod
    def asked(cls, who: Who, query: Mapping[str, str]) -> Listing:
        """Return the page that a query string asks for; what makes no sense in it is left aside."""
        status = query.get("status", "")
        return cls(
            who,
            status=status if status in Status.values else "",
            kind=query.get("kind", "")[:100].replace("\0", ""),
            before=str(_uuid(query.get("before", "")) or ""),
        )

    @property
    def _mine(self) -> ProcessQuerySet:
        mine = Process.objects.whole().filter(policy().own(self.who))
        # By default whoever owns it sees it; a project's own policy may say otherwise.
        return mine if type(policy()).viewable is Policy.viewable else mine.filter(policy().viewable(self.who))

    @cached_property
    def _found(self) -> list[Process]:
        rows = self._mine
        if self.before and (last := rows.filter(key=self.before).values_list("pk", flat=True).first()):
            rows = rows.filter(pk__lt=last)
        if self.kind:
            rows = rows.filter(kind=self.kind)
        if self.status:
            # As it is shown: an expiry that is not stored yet counts, and lists store nothing.
            overdue = Q(status__in=ACTIVE, expires_at__lte=DatabaseNow())
            stored = Q(status=self.status)
            rows = rows.filter(stored | overdue if self.status == Status.EXPIRED else stored & ~overdue)
        rows = rows.with_now().defer(*UNSEEN, "result").newest_first()
        found = list(rows[: settings.PAGE_SIZE + 1])
        for row in found:
            row.result = None  # No list shows it, and it may be large.
        return found

    @cached_property
    def rows(self) -> list[Live]:
        """The processes as the list shows them."""
        return [Live(row, "row") for row in self._found[: settings.PAGE_SIZE]]

    @cached_property
    def shared(self) -> list[Live]:
        """The newest of those that others share with whoever asks, on the first page of all."""
        if not self.who.has_account or self.before or self.is_filtered:
            return []
        shares = Share.objects.filter(user_id=self.who.user.pk)
        name = f"shared_by__{get_user_model().USERNAME_FIELD}"
        sharer = shares.filter(process=OuterRef("pk")).values(name)
        # Shared with its owner it stands above already; shared where the policy doesn't heed that, it can't be opened.
        rows = Process.objects.whole().filter(policy().viewable(self.who), pk__in=shares.values("process_id"))
        rows = rows.exclude(policy().own(self.who)).annotate(sharer=Subquery(sharer[:1]))
        found = list(rows.with_now().defer(*UNSEEN, "result").newest_first()[: settings.PAGE_SIZE])
        for row in found:
            row.result = None
        return [Live(row, "row", shared_by=row.sharer or "") for row in found]  # type: ignore[attr-defined]

    @property
    def older_url(self) -> str:
        """The address of the next page; nothing on the last one."""
        return self._url("process-list", before=self.rows[-1].key) if len(self._found) > len(self.rows) else ""

    @property
    def newest_url(self) -> str:
        """The address of the first page."""
        return self._url("process-list", before="")

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds there are to choose from. One query."""
        return list(self._mine.exclude(kind="").order_by("kind").values_list("kind", flat=True).distinct())

    @property
    def statuses(self) -> list[tuple[str, Any]]:
        """The statuses to choose from."""
        return list(Status.choices)

    @property
    def is_filtered(self) -> bool:
        """Whether it shows only some."""
        return bool(self.status or self.kind)

    @cached_property
    def going_on(self) -> list[Process]:
        """Those of them that have not ended."""
        return [row.process for row in (*self.rows, *self.shared) if row.is_active]

    @property
    def active(self) -> int:
        """How many those are."""
        return len(self.going_on)

    @property
    def interval(self) -> float | None:
        """Seconds between polls; None when nothing is going on."""
        return min((row.interval for row in (*self.rows, *self.shared) if row.interval), default=None)

    @property
    def trigger(self) -> str:
        """When it polls."""
        return trigger(self.interval or 1.0)

    @cached_property
    def token(self) -> str:
        """What a poll carries, and compares."""
        rows = [(row.token, row.shared_by) for row in (*self.rows, *self.shared)]
        return digest([self.status, self.kind, self.before, len(self._found), len(self.shared), *rows])

    @property
    def revision(self) -> int:
        """Grows with time, as the sum of theirs would not: rows leave the page, too."""
        shown = (*self.rows, *self.shared)
        now = shown[0].snapshot.now if shown else timezone.now()
        return int(now.timestamp() * 1000)

    @property
    def poll_url(self) -> str:
        """The address to poll."""
        # As the polls of one process: only who has an account is led to log in again.
        marks = {"dp-shown": self.token, "dp-for": "1" if self.who.has_account else ""}
        return self._url("process-list-fragment", **marks)

    @property
    def said(self) -> str:
        """What is announced when it changes."""
        if not self.active:
            return gettext("Nothing is running.")
        return ngettext("%(count)d is running.", "%(count)d are running.", self.active) % {"count": self.active}

    def _url(self, name: str, **changes: str) -> str:
        query = {"status": self.status, "kind": self.kind, "before": self.before, **changes}
        chosen = urlencode({name: value for name, value in query.items() if value})
        return reverse(f"django_progress:{name}") + (f"?{chosen}" if chosen else "")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
