"""What the holder of a link sees: one process, and nothing to change it by, or that leads anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_not_required
from django.core.handlers.exception import response_for_exception
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from .. import sharing
from ..access import look_up
from ..conf import settings
from ..models import Process, ShareLink
from .guards import private
from .live import Live
from .overrides import templates
from .polls import is_poll, is_restored

__all__ = ["fragment", "page"]


class Held(NamedTuple):
    """What a holder has in hand."""

    token: str
    link: ShareLink
    process: Process

    def context(self) -> dict[str, Any]:
        """Return what the templates show."""
        url = reverse("django_progress:process-shared-fragment", args=[self.token])
        return {
            "process": self.process,
            "live": Live(self.process, "shared", polled_at=url),
            "works_until": self.link.expires_at,
        }


def for_holders(view: Callable[[HttpRequest, Held], HttpResponse]) -> Callable[..., HttpResponse]:
    """Make a view one for whoever holds a link that works; to all others it isn't there.

    A poll that is refused leads nowhere: whoever holds a link need not have an account.
    """

    @require_safe
    def answer(request: HttpRequest, token: str) -> HttpResponse:
        link = sharing.find_link(token)
        process = None if link is None else look_up(Process.objects.all(), pk=link.process_id)
        if link is None or process is None:
            return response_for_exception(request, Http404("No such process."))
        return view(request, Held(token, link, process))

    @private
    @wraps(view)
    def guarded(request: HttpRequest, token: str) -> HttpResponse:
        response = answer(request, token)
        # The address is the permission: no other site is to be told it.
        response["Referrer-Policy"] = "no-referrer"
        return response

    return login_not_required(guarded)


@for_holders
def page(request: HttpRequest, held: Held) -> HttpResponse:
    """Show how it stands."""
    context = {
        **held.context(),
        "refreshes": held.process.is_active and request.GET.get("refresh") != "off",
        "base_template": settings.BASE_TEMPLATE,
    }
    return render(request, templates(held.process.kind, "shared.html"), context)


@for_holders
def fragment(request: HttpRequest, held: Held) -> HttpResponse:
    """Show it again, if anything has changed."""
    if is_restored(request):
        return redirect("django_progress:process-shared", token=held.token)
    context = held.context()
    if not is_poll(request):
        return render(request, "django_progress/fragments/shared.html", context)
    if request.GET["dp-shown"] == context["live"].token:
        return HttpResponse(status=204)
    return render(request, "django_progress/fragments/live.html", context)
