"""What is shown of a process: the cells of its row, and the sections of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from .. import addresses
from ..engines import get_engine
from ..redaction import redacted, redacted_list
from ..workflows.arguments import names_by_position
from . import cells
from .parts import process_link

if TYPE_CHECKING:
    from ..models import Process

    Base = admin.ModelAdmin[Process]
else:
    Base = object

__all__ = ["LARGE", "Page"]

LARGE = ("context", "result", "message_pairs", "task_args", "task_kwargs", "task_options", "error_detail")
"""Columns that may hold a megabyte each, which a list doesn't show."""
RETRIES_SHOWN = 20

SECTIONS: tuple[tuple[Any, tuple[str | tuple[str, ...], ...]], ...] = (
    (None, (("status_badge", "kind", "owner", "key"), "part_of")),
    (_("How far"), (("progress_in_full", "milestone"), ("time_taken", "time_left"), "messages_shown")),
    (_("What came of it"), (("error", "error_reference"), "detail", "result_json")),
    (_("Where it leads"), ("status_page", "destinations", ("retry_of", "started_again"))),
    (
        _("Times"),
        (("created_at", "started_at", "finished_at", "ended_by"), ("updated_at", "longest", "expires_at")),
    ),
    (_("Context"), ("context_json",)),
    (
        _("Task"),
        (
            ("task_name", "task_id"),
            ("attempts", "executions", "next_attempt_at", "delay", "timeout"),
            "args_json",
            "kwargs_json",
            "options_json",
        ),
    ),
)
"""The sections, each of rows, each of one value or several."""
NEEDS = {
    "part_of": ("parent_id",),
    "messages_shown": ("message_pairs",),
    "error": ("error",),
    "detail": ("error_detail",),
    "result_json": ("result",),
    "destinations": ("redirect_url", "success_url", "failure_url", "expired_url", "cancelled_url"),
    "context_json": ("context",),
    "task_name": ("task_name",),
    "attempts": ("task_name",),
    "args_json": ("task_args",),
    "kwargs_json": ("task_kwargs",),
    "options_json": ("task_options",),
}
"""Without any of which a row, named by its first value, is left out."""


class Page(Base):
    """The values, each read-only."""

    @admin.display(description=_("description"))
    def what(self, process: Process) -> SafeString:
        return format_html("<bdi>{}</bdi>", Truncator(process.title).chars(100))

    @admin.display(description=_("status"))
    def status_badge(self, process: Process) -> SafeString:
        return cells.status(process)

    @admin.display(description=_("progress"))
    def progress(self, process: Process) -> SafeString | str:
        return cells.progress(process)

    @admin.display(description=_("time taken"))
    def time_taken(self, process: Process) -> str:
        return cells.time_taken(process)

    @admin.display(description=_("attempt"))
    def attempts(self, process: Process) -> str:
        if not process.task_name:
            return cells.EMPTY
        return _("%(number)d of %(most)d") % {"number": process.attempt_number, "most": process.max_attempts}

    @admin.display(description=_("progress"))
    def progress_in_full(self, process: Process) -> SafeString | str:
        return cells.progress(process, both=True)

    @admin.display(description=_("time left, as estimated"))
    def time_left(self, process: Process) -> str:
        return cells.duration(process.eta)

    @admin.display(description=_("last milestone"))
    def milestone(self, process: Process) -> SafeString | str:
        reached = process.reached
        return format_html("<bdi>{}</bdi> <code>{}</code>", reached.description, reached.name)

    @admin.display(description=_("messages"))
    def messages_shown(self, process: Process) -> SafeString | str:
        return cells.pairs(process.messages)

    @admin.display(description=_("result"))
    def result_json(self, process: Process) -> SafeString | str:
        return cells.pretty_json(process.result)

    @admin.display(description=_("context"))
    def context_json(self, process: Process) -> SafeString | str:
        return cells.pretty_json(redacted(process.context))

    @admin.display(description=_("arguments"))
    def args_json(self, process: Process) -> SafeString | str:
        is_step = process.parent_id is not None
        names = names_by_position(process) if is_step else get_engine().parameters(process.task_name)
        return cells.pretty_json(redacted_list(process.task_args, names))

    @admin.display(description=_("keyword arguments"))
    def kwargs_json(self, process: Process) -> SafeString | str:
        return cells.pretty_json(redacted(process.task_kwargs))

    @admin.display(description=_("options"))
    def options_json(self, process: Process) -> SafeString | str:
        return cells.pretty_json(redacted(process.task_options))

    @admin.display(description=_("error detail"))
    def detail(self, process: Process) -> SafeString | str:
        return cells.preformatted(process.error_detail)

    @admin.display(description=_("status page"))
    def status_page(self, process: Process) -> SafeString:
        return _link(process.get_absolute_url())

    @admin.display(description=_("step of"))
    def part_of(self, process: Process) -> SafeString | str:
        workflow = process.parent
        return process_link(workflow, self.admin_site) if workflow is not None else cells.EMPTY

    @admin.display(description=_("leads to"))
    def destinations(self, process: Process) -> SafeString | str:
        named = (
            (_("success"), process.success_url),
            (_("failure"), process.failure_url),
            (_("expiry"), process.expired_url),
            (_("cancelling"), process.cancelled_url),
            (_("any other end"), process.redirect_url),
        )
        rows = [(name, _link(url.replace("{key}", str(process.key)))) for name, url in named if url]
        return cells.pairs(rows)

    @admin.display(description=_("started again as"))
    def started_again(self, process: Process) -> SafeString | str:
        later = self.model._default_manager.filter(retry_of=process).order_by("-pk").defer(*LARGE)
        found = list(later[: RETRIES_SHOWN + 1])
        rows = format_html_join(
            "", "<li>{}</li>", ((process_link(retry, self.admin_site),) for retry in found[:RETRIES_SHOWN])
        )
        if len(found) > RETRIES_SHOWN:
            url = reverse("admin:django_progress_process_changelist", current_app=self.admin_site.name)
            rows += format_html('<li><a href="{}?retry_of={}">{}</a></li>', url, process.pk, _("All of them"))
        return format_html('<ul class="dp-plain">{}</ul>', rows) if rows else cells.EMPTY

    @admin.display(description=_("delay between attempts"))
    def delay(self, process: Process) -> str:
        return cells.duration(process.retry_delay)

    @admin.display(description=_("attempt timeout"))
    def timeout(self, process: Process) -> str:
        return cells.duration(process.attempt_timeout)

    @admin.display(description=_("longest duration"))
    def longest(self, process: Process) -> str:
        return cells.duration(process.max_duration)

    def get_fieldsets(self, request: HttpRequest, obj: Process | None = None) -> Any:
        assert obj is not None  # Nothing is added here.
        sections = ((heading, [row for row in rows if _is_worth(row, obj)]) for heading, rows in SECTIONS)
        return [(heading, {"fields": rows}) for heading, rows in sections if rows]


def _is_worth(row: str | tuple[str, ...], process: Process) -> bool:
    columns = NEEDS.get(row if isinstance(row, str) else row[0])
    return columns is None or any(getattr(process, column) not in (None, "", [], {}) for column in columns)


def _link(url: str) -> SafeString:
    if safe := addresses.display_url(url):
        return format_html('<a href="{}">{}</a>', safe, url)
    return format_html("{}", url)
