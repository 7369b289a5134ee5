"""Who did what, and who else may see a process."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..models import Action, AuditEntry, Process, Via
from ..redaction import redacted
from . import cells
from .closed import ClosedAdmin
from .parts import as_uuid

__all__ = ["AuditEntryAdmin", "sharing_of", "trail_of"]

ENTRIES_SHOWN = 50
SHARES_SHOWN = 50


@admin.register(AuditEntry)
class AuditEntryAdmin(ClosedAdmin):
    """The record of all processes, of those too that are gone: for whoever has the permission to view it."""

    list_display = ["happened_at", "did", "of_process", "who", "via", "told"]
    list_display_links = ["happened_at"]
    list_filter = ["action", "via", "happened_at"]
    filtered_by = ("action", "via", "happened_at", "process_key")
    fields = ["happened_at", "did", "of_process", "process_key", "who", "via", "details_json"]
    search_fields = ["actor_name", "process_title"]
    search_help_text = gettext_lazy("Search by who did it, by description, or by the key of a process.")
    actions = None
    ordering = ["-pk"]
    show_full_result_count = False
    sortable_by = ()

    class Media:
        css = {"all": ["django_progress/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        # The process may be gone, so its page is looked for by its key.
        process = Process.objects.filter(key=OuterRef("process_key")).order_by().values("pk")
        entries: QuerySet[AuditEntry] = super().get_queryset(request)
        return entries.annotate(process_pk=Subquery(process[:1]))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        if (key := as_uuid(search_term)) is not None and (of_process := queryset.filter(process_key=key)).exists():
            return of_process, False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=gettext_lazy("action"))
    def did(self, entry: AuditEntry) -> str:
        return entry.get_action_display()

    @admin.display(description=gettext_lazy("process"))
    def of_process(self, entry: AuditEntry) -> SafeString | str:
        title = Truncator(entry.process_title or str(entry.process_key)).chars(80)
        try:
            pk = entry.process_pk  # type: ignore[attr-defined]
            url = reverse("admin:django_progress_process_change", args=[pk], current_app=self.admin_site.name)
        except NoReverseMatch:
            pk = None
        if pk is None:
            return format_html("<bdi>{}</bdi>", title)
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, title)

    @admin.display(description=gettext_lazy("by"))
    def who(self, entry: AuditEntry) -> SafeString:
        return who_did(entry)

    @admin.display(description=gettext_lazy("details"))
    def told(self, entry: AuditEntry) -> SafeString | str:
        return told(entry)

    @admin.display(description=gettext_lazy("details"))
    def details_json(self, entry: AuditEntry) -> SafeString | str:
        return cells.pretty_json(redacted(entry.details))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False


def who_did(entry: AuditEntry) -> SafeString:
    """Return the name that the account had then; a visitor and a program have none."""
    if entry.actor_name:
        return format_html("<bdi>{}</bdi>", entry.actor_name)
    nobody = _("a visitor without an account") if entry.via in (Via.WEB, Via.API) else _("nobody in particular")
    return format_html('<span class="quiet">{}</span>', nobody)


def told(entry: AuditEntry) -> SafeString | str:
    """Return what else is known of it, in a line."""
    details = redacted(entry.details)
    if not details:
        return cells.EMPTY
    match entry.action, details:
        case Action.SHARED | Action.UNSHARED, {"name": str(name)}:
            return format_html("<bdi>{}</bdi>", _("with %(name)s") % {"name": name})
        case Action.LINKED, {"expires_at": str(text)} if moment := parse_datetime(text):
            until = date_format(timezone.localtime(moment) if timezone.is_aware(moment) else moment, "DATETIME_FORMAT")
            return format_html("{}", _("until %(time)s") % {"time": until})
        case Action.UNLINKED, {"count": int(count)}:
            return format_html("{}", ngettext("%(count)d link", "%(count)d links", count) % {"count": count})
    line = Truncator(json.dumps(details, ensure_ascii=False)).chars(200)
    return format_html("<code>{}</code>", line)


def trail_of(process: Process) -> dict[str, Any]:
    """Return the last entries about a process, in order, and how many there are besides."""
    entries = AuditEntry.objects.using(process._using).filter(process_key=process.key)
    shown = list(entries.order_by("-pk")[:ENTRIES_SHOWN])[::-1]
    more = entries.filter(pk__lt=shown[0].pk).count() if len(shown) == ENTRIES_SHOWN else 0
    rows = [(entry, who_did(entry), told(entry)) for entry in shown]
    return {"progress_trail": rows, "progress_more_trail": more}


def sharing_of(process: Process) -> dict[str, Any]:
    """Return who else may see a process: people with an account, and whoever holds a link."""
    shares = list(process.share_set.select_related("user", "shared_by").order_by("-pk")[: SHARES_SHOWN + 1])
    links = list(process.link_set.select_related("created_by").order_by("-pk")[: SHARES_SHOWN + 1])
    now = process.now
    rows = [
        {"user": share.user.get_username(), "by": _name(share.shared_by), "since": share.shared_at} for share in shares
    ] + [
        {
            "by": _name(link.created_by),
            "since": link.created_at,
            "until": link.expires_at,
            "revoked_at": link.revoked_at,
            "has_expired": link.expires_at <= now,
        }
        for link in links
    ]
    is_more = len(shares) > SHARES_SHOWN or len(links) > SHARES_SHOWN
    return {"progress_shares": rows, "progress_more_shares": is_more}


def _name(user: Any) -> str:
    return "" if user is None else str(user.get_username())
