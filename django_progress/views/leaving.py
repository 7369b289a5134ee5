"""The ways from one page to another."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import iri_to_uri

from .. import addresses, signals
from ..exceptions import UnsafeURL
from ..models import Process
from ..responses import leave_for
from .live import onward

__all__ = ["go", "lead_on", "wanted_next"]


def go(request: HttpRequest, url: str) -> HttpResponse:
    """Return what makes the browser go to ``url``.

    While htmx restores its history it follows a plain redirect, and ignores its own header.
    """
    if request.headers.get("HX-History-Restore-Request") == "true":
        return HttpResponse(status=303, headers={"Location": iri_to_uri(url)})
    return leave_for(request, url)


def lead_on(request: HttpRequest, process: Process) -> HttpResponse:
    """Lead from the wait of a process that has finished to where that ended."""
    url = onward(process)
    signals.process_redirected.send_robust(Process, process=process, request=request, url=url)
    return go(request, url)


def wanted_next(request: HttpRequest, default: str) -> str:
    """Return where a form asked to return to, if that is a place of this site; else ``default``."""
    try:
        return addresses.stored_url(request.POST.get("next"), "next", request) or default
    except UnsafeURL:
        return default
