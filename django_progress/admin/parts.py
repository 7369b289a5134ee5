"""What belongs to a process: its events and its attempts, to be read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from ..models import Attempt, Event, Process
from ..redaction import redacted
from . import cells
from .closed import ClosedAdmin

__all__ = [
    "AttemptAdmin",
    "EventAdmin",
    "PartAdmin",
    "as_uuid",
    "may_see_processes",
    "process_link",
    "task_result_urls",
]


def as_uuid(text: str) -> UUID | None:
    """Return the UUID that ``text`` is, written with hyphens or without."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def may_see_processes(request: HttpRequest) -> bool:
    """Whether the user may see processes, and so what belongs to them."""
    return any(request.user.has_perm(f"django_progress.{action}_process") for action in ("view", "change"))


def process_link(process: Process, site: admin.AdminSite) -> SafeString:
    """Return the title of a process, leading to its page in admin."""
    title = Truncator(process.title).chars(80)
    try:
        url = reverse("admin:django_progress_process_change", args=[process.pk], current_app=site.name)
    except NoReverseMatch:
        return format_html("<bdi>{}</bdi>", title)
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, title)


def task_result_urls(request: HttpRequest, site: admin.AdminSite, task_ids: Iterable[str]) -> dict[str, str]:
    """Return the admin's pages of those Celery results that there are, by task id. One query."""
    if not apps.is_installed("django_celery_results"):
        return {}
    model = apps.get_model("django_celery_results", "TaskResult")
    if not site.is_registered(model) or not site.get_model_admin(model).has_view_permission(request):
        return {}
    found = model._default_manager.filter(task_id__in=list(task_ids)).values_list("task_id", "pk")
    name = "admin:django_celery_results_taskresult_change"
    return {task_id: reverse(name, args=[pk], current_app=site.name) for task_id, pk in found}


class PartAdmin(ClosedAdmin):
    """Read-only, and reached from the page of a process: there may be millions of them."""

    actions = None
    filtered_by: tuple[str, ...] = ("process",)
    ordering = ["-pk"]
    show_full_result_count = False
    sortable_by = ()

    class Media:
        css = {"all": ["django_progress/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        needed = ("key", "kind", "description", "description_params")
        fields = [field.attname for field in self.model._meta.concrete_fields]
        return (
            super()
            .get_queryset(request)
            .select_related("process")
            .only(*fields, *(f"process__{name}" for name in needed))
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if (key := as_uuid(search_term)) is not None:
            of_process = queryset.filter(process__key=key)
            if of_process.exists():
                return of_process, False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=_("process"))
    def of_process(self, part: Any) -> SafeString:
        return process_link(part.process, self.admin_site)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_see_processes(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Event)
class EventAdmin(PartAdmin):
    """The event log."""

    list_display = ["seq", "of_process", "type", "name", "says", "happened_at"]
    fields = ["of_process", "seq", "happened_at", "type", "name", "says", "details_json"]
    search_fields = ["message", "name", "type"]
    search_help_text = _("Search by message, milestone or type, or by the key of a process.")

    @admin.display(description=_("message"))
    def says(self, event: Event) -> SafeString:
        return format_html("<bdi>{}</bdi>", event.text)

    @admin.display(description=_("details"))
    def details_json(self, event: Event) -> SafeString | str:
        return cells.pretty_json(redacted(event.details))


@admin.register(Attempt)
class AttemptAdmin(PartAdmin):
    """The executions of tasks."""

    list_display = ["number", "of_process", "attempt_number", "ended", "worker", "started_at", "took"]
    fields = [
        "of_process", "number", "attempt_number", "ended", "started_at", "finished_at", "took", "worker", "task_id",
        "lease_until", "timeout_at", "cancel_requested_at", "cancel_requested_by", "error", "error_reference", "detail",
    ]  # fmt: skip
    search_fields = ["task_id__exact", "worker", "error_reference__iexact"]
    search_help_text = _("Search by Celery task id, worker or reference, or by the key of a process.")

    @admin.display(description=_("outcome"))
    def ended(self, attempt: Attempt) -> SafeString:
        return cells.outcome(attempt)

    @admin.display(description=_("duration"))
    def took(self, attempt: Attempt) -> str:
        return cells.duration(attempt.seconds)

    @admin.display(description=_("error detail"))
    def detail(self, attempt: Attempt) -> SafeString | str:
        return cells.preformatted(attempt.error_detail)
