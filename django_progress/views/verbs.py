"""What can be done to a process: by POST, and harmless when done twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .. import audit
from ..access import find, get_or_404, may_control
from ..exceptions import ProcessActive, ProcessFinished, RetryNotPossible
from ..models import Process, Via
from . import api
from .guards import for_people, for_programs, not_allowed, private, problem, wants_json
from .leaving import go, lead_on, wanted_next

__all__ = ["cancel", "for_programs_that_control", "for_whoever_controls", "retry", "verb"]

Verb = Callable[[HttpRequest, Process], HttpResponse]
View = Callable[..., HttpResponse]


class CsrfCheck(CsrfViewMiddleware):
    """Django's check, whose refusal a program can read."""

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:  # type: ignore[override]
        """Refuse what Django refuses."""
        refusal = super().process_view(request, *view)
        if refusal is None or not wants_json(request):
            return refusal
        return problem(
            403,
            "csrf",
            "The CSRF check failed: send the value of the CSRF cookie as the header X-CSRFToken too, and over HTTPS a "
            "Referer or an Origin of this site.",
        )


checked: Callable[[View], View] = cast(Any, decorator_from_middleware(CsrfCheck))


def for_whoever_controls(answer: Verb) -> View:
    """Make a view of a function for browsers; who may see the process, but not change it, is refused."""

    @wraps(answer)
    def view(request: HttpRequest, key: UUID) -> HttpResponse:
        process = get_or_404(request, key)
        if not may_control(request, process):
            raise PermissionDenied
        try:
            return answer(request, process)
        except Process.DoesNotExist:  # It was removed meanwhile.
            raise Http404("No such process.") from None

    return view


def for_programs_that_control(answer: Verb) -> View:
    """Make a view of a function for programs, on the same terms."""

    @wraps(answer)
    def view(request: HttpRequest, key: UUID) -> HttpResponse:
        process = find(request, key)
        if process is None:
            return api.not_found()
        if not may_control(request, process):
            return problem(403, "forbidden", "You may see this process, but not change it.")
        try:
            return answer(request, process)
        except Process.DoesNotExist:
            return api.not_found()

    return view


def verb(answer: Verb) -> Callable[..., HttpResponse]:
    """Make a view of a function that acts on a process and answers a browser or a program."""

    @for_people(page="process-wait")
    @for_whoever_controls
    def by_form(request: HttpRequest, process: Process) -> HttpResponse:
        with audit.acting(Via.WEB, request.user):
            return answer(request, process)

    @for_programs
    @for_programs_that_control
    def by_program(request: HttpRequest, process: Process) -> HttpResponse:
        with audit.acting(Via.API, request.user):
            return answer(request, process)

    @require_POST
    def by_either(request: HttpRequest, key: UUID) -> HttpResponse:
        return by_program(request, key=key) if wants_json(request) else by_form(request, key=key)

    @private
    @checked
    @wraps(answer)
    def view(request: HttpRequest, key: UUID) -> HttpResponse:
        if request.method != "POST" and wants_json(request):
            return not_allowed(request, "POST")
        return by_either(request, key=key)

    # Checked above, and not by the middleware. Within the request's transaction a second click could not be
    # repeated after a deadlock.
    return login_not_required(csrf_exempt(transaction.non_atomic_requests(view)))


@verb
def cancel(request: HttpRequest, process: Process) -> HttpResponse:
    """Ask for it to be cancelled, and return to where the visitor was: on from a wait that this has ended."""
    with suppress(ProcessFinished):
        process.cancel(by=request.user)
    if not wants_json(request):
        if process.is_finished and request.POST.get("waiting"):
            return lead_on(request, process)
        return go(request, wanted_next(request, process.get_absolute_url()))
    now = Process.objects.using(process._using).with_now().filter(pk=process.pk).first()
    if now is None:
        return api.not_found()  # It was removed meanwhile.
    return api.answer(now, 202 if now.is_active else 200)


@verb
def retry(request: HttpRequest, process: Process) -> HttpResponse:
    """Try it again, and go to the wait page of the process that does."""
    try:
        again = process.retry(by=request.user)
    except (ProcessActive, RetryNotPossible) as error:
        if not wants_json(request):
            return go(request, process.get_absolute_url())
        return problem(409, _code(error), str(error))
    return again.accepted(request) if wants_json(request) else again.redirect_to_wait(request)


def _code(error: ProcessActive | RetryNotPossible) -> str:
    if isinstance(error, ProcessActive):
        return "still_active"
    return "not_plannable" if error.__cause__ else "no_task"
