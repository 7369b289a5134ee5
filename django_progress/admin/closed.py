"""What every admin of this app keeps to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

__all__ = ["ClosedAdmin"]


class ClosedAdmin(ModelAdmin):
    """Says nothing of what its pages hide, nor which rows there are to whoever may not see them."""

    filtered_by: tuple[str, ...] = ()
    """The columns by which an address may choose rows: those of the filters, and of links that lead here."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse to compare any other column: Django would let secrets be guessed, letter by letter."""
        is_offered = lookup.split(LOOKUP_SEP, 1)[0] in self.filtered_by
        return is_offered and super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for the permission first: Django looks for the row before, and answers differently if it isn't there."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)
