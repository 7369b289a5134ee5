"""The steps of workflows: as a tree on the page of the process, and as rows to be looked through."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ..models import Process, Step
from ..status import STEP_FAILED, StepStatus
from ..views.step_row import StepRow
from ..views.steps import StepTree
from . import cells
from .page import LARGE
from .parts import PartAdmin, process_link

__all__ = ["StepAdmin", "steps_of"]


def steps_of(process: Process, site: admin.AdminSite) -> dict[str, Any]:
    """Return the steps of a workflow for its page, each before its own; parts are counted, and listed elsewhere."""
    if not process.workflow:
        return {}
    tree = StepTree(process, is_active=process.is_active, is_linked=False, is_for_staff=True)
    rows = [
        {
            "row": row,
            "badge": cells.badge(row.step.status if row.state == "again" else row.state, row.word),
            "detail": cells.preformatted(row.execution.error_detail) if row.error and row.execution else "",
            "url": _address("process_change", site, args=[row.execution.pk]) if row.execution else "",
            "parts_url": _parts_address(row, site),
        }
        for row in tree.rows
    ]
    return {"progress_steps": rows, "progress_step_tree": tree}


def _parts_address(row: StepRow, site: admin.AdminSite) -> str:
    """Return the list of the parts of a step."""
    url = _address("step_changelist", site) if row.step.parts else ""
    which = {"process": row.step.process_id, "parent_path": row.step.path, "index__isnull": "False"}
    return f"{url}?{urlencode(which)}" if url else ""


def _address(name: str, site: admin.AdminSite, **options: Any) -> str:
    try:
        return reverse(f"admin:django_progress_{name}", current_app=site.name, **options)
    except NoReverseMatch:
        return ""


@admin.register(Step)
class StepAdmin(PartAdmin):
    """The steps, parts too."""

    list_display = ["path", "of_process", "badge", "how_far", "took", "executed_by", "public_error"]
    list_filter = ["status"]
    filtered_by = ("process", "parent_path", "index", "status")
    fields = [
        "path", "of_process", "badge", "how_far", "is_reused", "queued_at", "started_at", "finished_at", "took",
        "executed_by", "public_error", "detail", "result_json",
    ]  # fmt: skip
    ordering = ["process", "position", "index"]
    search_fields = ["path", "error"]
    search_help_text = _("Search by path or error, or by the key of a process.")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Step]:
        # A result may be a megabyte.
        found = super().get_queryset(request).defer("result", "options")
        return found.prefetch_related(Prefetch("execution", Process.objects.defer(*LARGE)))

    @admin.display(description=_("status"))
    def badge(self, step: Step) -> SafeString:
        return cells.badge(step.status, StepStatus(step.status).label)

    @admin.display(description=_("progress"))
    def how_far(self, step: Step) -> str:
        # What failed counts as done where its workflow goes on.
        return cells.EMPTY if step.status in STEP_FAILED else cells.share(step.fraction)

    @admin.display(description=_("duration"))
    def took(self, step: Step) -> str:
        begun, ended = step.started_at, step.finished_at
        return cells.duration((ended - begun).total_seconds() if begun and ended else None)

    @admin.display(description=_("execution"))
    def executed_by(self, step: Step) -> SafeString | str:
        return process_link(step.execution, self.admin_site) if step.execution is not None else cells.EMPTY

    @admin.display(description=_("error"))
    def public_error(self, step: Step) -> SafeString | str:
        return format_html("<bdi>{}</bdi>", step.error) if step.error else cells.EMPTY

    @admin.display(description=_("error detail"))
    def detail(self, step: Step) -> SafeString | str:
        return cells.preformatted(step.execution.error_detail if step.execution is not None else "")

    @admin.display(description=_("result"))
    def result_json(self, step: Step) -> SafeString | str:
        return cells.pretty_json(step.result)
