"""Pieces of pages: whole when they are asked for plainly, only what changes when a page polls.

A poll carries the token of what its page shows. Equal is 204; a live region that comes
back without ``hx-get`` stops polling.
"""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from ..access import get_or_404, who_asks
from ..models import Process
from .guards import current_page, for_people, is_logged_in
from .leaving import lead_on
from .listing import Listing
from .live import MODES, Live
from .polls import copy_number, is_poll, is_restored

__all__ = ["mine", "status", "wait"]


@require_safe
@for_people(page="process-wait")
def wait(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show the wait; a poll is led on when it is over."""
    process = get_or_404(request, key)
    if is_poll(request) and process.is_finished:
        return lead_on(request, process)
    return _answer(request, process, "wait", page=process.get_wait_url())


@require_safe
@for_people(page="process-detail")
def status(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show how it stands: all there is to know, or ``?as=`` the bar or the block that waits for its result."""
    process = get_or_404(request, key)
    mode = request.GET.get("as", "status")
    return _answer(request, process, mode if mode in MODES else "status", page=process.get_absolute_url())


@require_safe
@for_people(page="process-list")
def mine(request: HttpRequest) -> HttpResponse:
    """List somebody's own processes."""
    if is_restored(request):
        return redirect("django_progress:process-list")
    listing = Listing.asked(who_asks(request), request.GET)
    if not is_poll(request):
        return render(request, "django_progress/fragments/my_processes.html", {"listing": listing})
    if request.GET["dp-shown"] == listing.token:
        return HttpResponse(status=204)
    return render(request, "django_progress/fragments/live_list.html", {"listing": listing})


def _answer(request: HttpRequest, process: Process, mode: str, *, page: str) -> HttpResponse:
    if is_restored(request):
        return redirect(page)
    host_url = current_page(request) if mode == "processing" else ""
    live = Live(process, mode, host_url=host_url, is_personal=is_logged_in(request), copy=copy_number(request.GET))
    if not is_poll(request):
        return render(request, f"django_progress/fragments/{mode}.html", {"process": process, "live": live})
    if request.GET["dp-shown"] == live.token:
        return HttpResponse(status=204)
    return render(request, "django_progress/fragments/live.html", {"process": process, "live": live})
