from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ..clock import DatabaseNow
from ..status import ACTIVE, Status

__all__ = ["KindFilter", "StatusFilter"]


class StatusFilter(admin.SimpleListFilter):
    """By the status that is shown: what is past its deadline counts as expired, stored or not."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Status.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen not in Status.values:
            return queryset
        overdue = Q(status__in=ACTIVE, expires_at__lte=DatabaseNow())
        if chosen == Status.EXPIRED:
            return queryset.filter(Q(status=chosen) | overdue)
        queryset = queryset.filter(status=chosen)
        if chosen in ACTIVE:
            queryset = queryset.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))
        return queryset


class KindFilter(admin.AllValuesFieldListFilter):
    """By kind; processes without one have a choice that can be read."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield choice if choice["display"].strip() else {**choice, "display": _("None")}
