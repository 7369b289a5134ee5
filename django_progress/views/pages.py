"""Pages of one's own processes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from .. import signals
from ..access import get_or_404, who_asks
from ..conf import settings
from ..models import Process
from .guards import for_people, is_logged_in
from .leaving import lead_on
from .listing import Listing
from .live import Live
from .overrides import templates

__all__ = ["detail", "mine", "wait"]


@require_safe
@for_people(page="process-wait", is_page=True)
def wait(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show the wait, and lead on when it is over."""
    process = get_or_404(request, key)
    if process.is_finished:
        return lead_on(request, process)
    signals.process_waiting.send_robust(Process, process=process, request=request)
    return _page(request, process, "wait")


@require_safe
@for_people(page="process-detail", is_page=True)
def detail(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show what there is to know about a process."""
    return _page(request, get_or_404(request, key), "status", template="detail")


@require_safe
@for_people(page="process-list", is_page=True)
def mine(request: HttpRequest) -> HttpResponse:
    """List somebody's own processes, and those that others share."""
    return _render(request, ["django_progress/list.html"], {"listing": Listing.asked(who_asks(request), request.GET)})


def _page(request: HttpRequest, process: Process, mode: str, template: str = "") -> HttpResponse:
    context = {
        "process": process,
        "live": Live(process, mode, is_personal=is_logged_in(request)),
        "refreshes": process.is_active and request.GET.get("refresh") != "off",
    }
    return _render(request, templates(process.kind, f"{template or mode}.html"), context)


def _render(request: HttpRequest, names: list[str], context: dict[str, Any]) -> HttpResponse:
    return render(request, names, {"base_template": settings.BASE_TEMPLATE, **context})
