"""The answers with which a view hands a visitor, or a program, over to a process."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.encoding import iri_to_uri

from . import history
from .conf import settings
from .exceptions import IdempotencyConflict

if TYPE_CHECKING:
    from .models import Process
    from .snapshot import Snapshot

__all__ = ["PROBLEM", "Responses", "conflict", "leave_for", "problem", "retry_after"]

PROBLEM = "application/problem+json"
NOSNIFF = {"X-Content-Type-Options": "nosniff"}
"""What people wrote is in JSON as it is: no browser is to take it for a page."""
LONGEST_REST = 30
"""Seconds between two questions of a program at most, however long such processes usually take."""


class SeeOther(HttpResponseRedirect):
    """A redirect that is followed by GET, whatever led to it."""

    status_code = 303


def leave_for(request: HttpRequest, url: str) -> HttpResponse:
    """Return what makes a browser go to ``url``: 303, or ``HX-Redirect`` for a request made by htmx."""
    if request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true":
        return HttpResponse(headers={"HX-Redirect": iri_to_uri(url)})
    return SeeOther(url)


def problem(status: int, code: str, detail: str) -> JsonResponse:
    """Return an error as RFC 9457 describes it: a code for programs, a sentence for people."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
    return JsonResponse(body, status=status, content_type=PROBLEM, headers=NOSNIFF)


def conflict() -> JsonResponse:
    """Return the 409 for a view in which ``start()`` raised ``IdempotencyConflict``."""
    response = problem(409, "idempotency_conflict", str(IdempotencyConflict()))
    response["Cache-Control"] = "private, no-store"
    return response


def retry_after(process: Process, snapshot: Snapshot) -> str:
    """Return after how many whole seconds it is worth asking again: when such processes have usually ended."""
    usual = history.usual_duration(process)
    rest = 0.0 if usual is None else usual - snapshot.elapsed
    return str(max(1, math.ceil(poll_interval(snapshot)), min(LONGEST_REST, math.ceil(rest))))


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
        response = JsonResponse(snapshot.as_json(), status=202, headers=NOSNIFF)
        response["Location"] = location
        response["Cache-Control"] = "private, no-store"
        if snapshot.is_active:
            response["Retry-After"] = retry_after(cast("Process", self), snapshot)
        return response
