"""What every page of the tests goes through. A live server outlives a test, and its middleware with it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]

POLICY = "default-src 'self'"


def strict_policy(get_response: GetResponse) -> GetResponse:
    """Serve everything under the strictest policy that the app promises to work under."""

    def serve(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return serve


class Outage:
    """Answers what htmx asks for with 502 for as long as a test says so."""

    active = False
    answered = 0

    @classmethod
    def middleware(cls, get_response: GetResponse) -> GetResponse:
        def serve(request: HttpRequest) -> HttpResponse:
            if cls.active and request.headers.get("HX-Request"):
                cls.answered += 1
                return HttpResponse("<h1>Bad gateway</h1>", status=502)
            return get_response(request)

        return serve


outage = Outage.middleware
