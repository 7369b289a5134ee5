"""One page of "my processes"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from ..access import UNSEEN
from ..clock import DatabaseNow
from ..conf import settings
from ..models import Process
from ..querysets import ProcessQuerySet
from ..status import ACTIVE, Status
from .live import Live, digest, trigger

__all__ = ["Listing"]


@dataclass(frozen=True)
class Listing:
    """Somebody's processes, newest first, from ``before`` on, of one status or kind if that is given."""

    user: Any
    status: str = ""
    kind: str = ""
    before: str = ""

    @classmethod
    def asked(cls, user: Any, query: Mapping[str, str]) -> Listing:
        """Return the page that a query string asks for; what makes no sense in it is left aside."""
        status = query.get("status", "")
        return cls(
            user,
            status=status if status in Status.values else "",
            kind=query.get("kind", "")[:100].replace("\0", ""),
            before=str(_uuid(query.get("before", "")) or ""),
        )

    @property
    def _mine(self) -> ProcessQuerySet:
        return Process.objects.owned_by(self.user)

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
    def active(self) -> int:
        """How many of those shown have not ended."""
        return sum(row.is_active for row in self.rows)

    @property
    def interval(self) -> float | None:
        """Seconds between polls; None when nothing is going on."""
        return min((row.interval for row in self.rows if row.interval), default=None)

    @property
    def trigger(self) -> str:
        """When it polls."""
        return trigger(self.interval or 1.0)

    @cached_property
    def token(self) -> str:
        """What a poll carries, and compares."""
        return digest([self.status, self.kind, self.before, len(self._found), *(row.token for row in self.rows)])

    @property
    def revision(self) -> int:
        """Grows with time, as the sum of theirs would not: rows leave the page, too."""
        now = self._found[0].now if self._found else timezone.now()
        return int(now.timestamp() * 1000)

    @property
    def poll_url(self) -> str:
        """The address to poll."""
        return self._url("process-list-fragment", **{"dp-shown": self.token, "dp-for": "1"})

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
