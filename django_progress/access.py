"""Who sees which process, who may act on it, and what everybody else is answered.

Whoever may not see a process gets the answer for one that doesn't exist. Somebody who is
not logged in is led to the login page whether or not it exists; programs are told 404.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.core.handlers.exception import response_for_exception
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers

from . import addresses
from .exceptions import UnsafeURL
from .models import Process
from .querysets import ProcessQuerySet
from .responses import leave_for

__all__ = [
    "current_page",
    "find",
    "for_people",
    "for_programs",
    "get_or_404",
    "is_logged_in",
    "login_answer",
    "may_control",
    "may_see",
    "open_page",
    "private",
    "problem",
    "visible_to",
]

View = Callable[..., HttpResponse]

# What no page shows; arguments and context may be large.
UNSEEN = ("context", "task_args", "task_kwargs", "task_options", "error_detail")


def is_logged_in(request: HttpRequest) -> bool:
    """Return whether somebody with an account is asking."""
    user = getattr(request, "user", None)
    return user is not None and user.is_authenticated


def visible_to(request: HttpRequest) -> ProcessQuerySet:
    """Return the processes that whoever asks may see: their own; all, for staff with the view permission."""
    user = getattr(request, "user", None)
    if _is_staff_with(user, "view_process"):
        return Process.objects.all()
    return Process.objects.owned_by(user)


def may_see(request: HttpRequest, process: Process) -> bool:
    """Return whether it is one of those, without a query for most people."""
    user = getattr(request, "user", None)
    if user is None or user.pk is None:
        return False
    return process.owner_id == user.pk or _is_staff_with(user, "view_process")


def may_control(request: HttpRequest, process: Process) -> bool:
    """Return whether whoever asks may cancel or retry it: its owner, and staff with the change permission."""
    user = getattr(request, "user", None)
    if user is None or user.pk is None:
        return False
    return process.owner_id == user.pk or _is_staff_with(user, "change_process")


def _is_staff_with(user: Any, permission: str) -> bool:
    return bool(
        user is not None and user.is_active and user.is_staff and user.has_perm(f"django_progress.{permission}")
    )


def find(request: HttpRequest, key: UUID) -> Process | None:
    """Return the process if it may be seen, with its expiry stored if that is due."""
    rows = visible_to(request).with_now().defer(*UNSEEN)
    process = rows.filter(key=key).first()
    if process is not None and process.status != process.shown_status and process._expire_if_overdue(wait=False):
        process = rows.filter(key=key).first()
    return process


def get_or_404(request: HttpRequest, key: UUID) -> Process:
    """Return the process, or raise the 404 that says nothing about why."""
    process = find(request, key)
    if process is None:
        raise Http404("No such process.")
    return process


def current_page(request: HttpRequest, fallback: str = "") -> str:
    """Return the path of the page that is open in the browser, or opens with this; see ``open_page()``."""
    if any(request.headers.get(name) == "true" for name in ("HX-Boosted", "HX-History-Restore-Request")):
        return request.get_full_path()  # htmx still names the page that is being left.
    return open_page(request, fallback)


def open_page(request: HttpRequest, fallback: str = "") -> str:
    """Return the path of the page from which this is asked; ``fallback`` where it is another site's."""
    if request.headers.get("HX-Request") != "true":
        return request.get_full_path()
    try:
        url = addresses.stored_url(request.headers.get("HX-Current-URL"), "HX-Current-URL", request)
    except UnsafeURL:
        return fallback
    parts = urlsplit(url)
    return fallback if parts.netloc else parts._replace(fragment="").geturl() or fallback


def login_answer(request: HttpRequest, after: str) -> HttpResponse:
    """Return what leads to the login page, and from there to ``after``."""
    redirect = redirect_to_login(after)
    if request.headers.get("HX-Request") != "true" or request.headers.get("HX-History-Restore-Request") == "true":
        return redirect
    return leave_for(request, redirect.url)


def for_people(*, page: str, is_page: bool = False) -> Callable[[View], View]:
    """Make a view one for browsers: logged in, and its answers kept by nobody.

    ``page`` names the URL (with the view's arguments) that somebody returns to who has to
    log in first and whose browser doesn't say where they are.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if is_logged_in(request):
                try:
                    return _personal(view(request, **kwargs))
                except (Http404, PermissionDenied) as refusal:
                    return _personal(response_for_exception(request, refusal))
            if "dp-shown" in request.GET and "dp-for" not in request.GET:
                # A poll of a page that was made for nobody in particular, who is not to be led away from it.
                return _personal(response_for_exception(request, Http404("No such process.")))
            after = reverse(f"django_progress:{page}", kwargs=kwargs)
            if is_page:
                after = request.get_full_path()
            elif request.headers.get("HX-Request") == "true":
                after = open_page(request, after)
            return _personal(login_answer(request, after))

        return login_not_required(guarded)

    return decorate


def for_programs(view: View) -> View:
    """Make a view one that answers JSON: nobody is led to a login page, and nobody keeps its answers."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        response = _personal(view(request, **kwargs))
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return login_not_required(guarded)


def private(view: View) -> View:
    """Have nobody keep the answers of a view."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return _personal(view(request, **kwargs))

    return guarded


def problem(status: int, code: str, message: str) -> JsonResponse:
    """Return an error as JSON: a code for programs, a sentence for people."""
    return JsonResponse({"error": {"code": code, "message": message}}, status=status)


def _personal(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "private, no-store"
    patch_vary_headers(response, ["Cookie", "HX-Request"])
    return response
