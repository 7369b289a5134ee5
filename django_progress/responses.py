"""The answers with which a view hands a visitor, or a program, over to a process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.encoding import iri_to_uri

from .conf import settings

if TYPE_CHECKING:
    from .snapshot import Snapshot

__all__ = ["Responses", "leave_for", "retry_after"]


class SeeOther(HttpResponseRedirect):
    """A redirect that is followed by GET, whatever led to it."""

    status_code = 303


def leave_for(request: HttpRequest, url: str) -> HttpResponse:
    """Return what makes a browser go to ``url``: 303, or ``HX-Redirect`` for a request made by htmx."""
    if request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true":
        return HttpResponse(headers={"HX-Redirect": iri_to_uri(url)})
    return SeeOther(url)


def retry_after(snapshot: Snapshot) -> str:
    """Return after how many whole seconds it is worth asking again."""
    return str(max(1, math.ceil(poll_interval(snapshot))))


def poll_interval(snapshot: Snapshot) -> float:
    """Return the seconds between polls: longer as the wait grows."""
    quick, calm, slow = settings.POLL_INTERVALS
    return float(quick if snapshot.elapsed < 10 else calm if snapshot.elapsed < 60 else slow)


class Responses:
    """What a view returns for a process it has just started."""

    if TYPE_CHECKING:
        key: object

        def get_wait_url(self) -> str: ...
        def snapshot(self) -> Snapshot: ...

    def redirect_to_wait(self, request: HttpRequest) -> HttpResponse:
        """Return the answer that leads to the wait page: 303, or ``HX-Redirect`` for htmx."""
        return leave_for(request, self.get_wait_url())

    def accepted(self, request: HttpRequest) -> JsonResponse:
        """Return 202 with ``Location``, ``Retry-After`` and the JSON status, for a program that polls."""
        snapshot = self.snapshot()
        location = reverse("django_progress:process-status", args=[self.key])
        response = JsonResponse(snapshot.as_json(), status=202)
        response["Location"] = location
        response["Cache-Control"] = "private, no-store"
        if snapshot.is_active:
            response["Retry-After"] = retry_after(snapshot)
        return response
