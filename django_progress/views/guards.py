"""What stands before every view: who is led to the login page, and that nobody keeps an answer.

Whoever may not see a process gets the answer for one that doesn't exist. Somebody who is
not logged in is led to the login page whether or not it exists; programs are told 404.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.core.handlers.exception import response_for_exception
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.log import log_response
from django.views.decorators.csrf import csrf_exempt

from .. import addresses, visitors
from ..exceptions import UnsafeURL
from ..responses import leave_for, problem

__all__ = [
    "current_page", "for_everybody", "for_people", "for_programs", "is_logged_in", "login_answer", "not_allowed",
    "open_page", "private", "problem", "safe_only", "wants_json",
]  # fmt: skip

View = Callable[..., HttpResponse]


def is_logged_in(request: HttpRequest) -> bool:
    """Return whether somebody with an account is asking."""
    user = getattr(request, "user", None)
    return user is not None and user.is_authenticated


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
    """Make a view one for browsers: for people it knows, and its answers kept by nobody.

    Somebody without an account who may not see it is led to the login page.

    ``page`` names the URL (with the view's arguments) that somebody returns to who has to
    log in first and whose browser doesn't say where they are.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if is_logged_in(request) or visitors.known(request):
                try:
                    return _personal(view(request, **kwargs))
                except (Http404, PermissionDenied) as refusal:
                    if is_logged_in(request):
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


def for_everybody(view: View) -> View:
    """Make a view one that answers the same JSON to everybody, and that whoever asks may keep for a while.

    Not whoever hands it on: middleware may have put somebody's session cookie into the answer.
    """

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        response = view(request, **kwargs)
        if response.status_code < 400:
            patch_cache_control(response, private=True, max_age=3600)
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return login_not_required(guarded)


def wants_json(request: HttpRequest) -> bool:
    """Return whether it is a program that asks, where people ask too."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def not_allowed(request: HttpRequest, *methods: str) -> HttpResponse:
    """Return the 405 for a program."""
    response = problem(405, "method_not_allowed", f"Only {' and '.join(methods)} can be asked of this address.")
    response["Allow"] = ", ".join(methods)
    log_response("Method Not Allowed (%s): %s", request.method, request.path, response=response, request=request)
    return response


def safe_only(view: View) -> View:
    """Have a view for programs answer GET and HEAD, and every other method with 405: CSRF is no matter then."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return view(request, **kwargs) if request.method in ("GET", "HEAD") else not_allowed(request, "GET", "HEAD")

    return guarded


def private(view: View) -> View:
    """Have nobody keep the answers of a view."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return _personal(view(request, **kwargs))

    return guarded


def _personal(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "private, no-store"
    patch_vary_headers(response, ["Cookie", "HX-Request"])
    return response
