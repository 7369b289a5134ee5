from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from django_progress.models import Process

from .tasks import search_flights


@require_POST
def search(request: HttpRequest) -> HttpResponse:
    process = search_flights.start(request, query=request.POST.get("query", "flight #1234"))
    return process.redirect_to_wait(request)


@require_POST
def search_api(request: HttpRequest) -> HttpResponse:
    process = search_flights.start(request, query="flight #1234")
    return process.accepted(request)


def results(request: HttpRequest, key: str) -> HttpResponse:
    return render(request, "travel/results.html", {"process": Process.objects.get(key=key)})


def host(request: HttpRequest, version: int, key: str) -> HttpResponse:
    """Show the wait fragment in a page that brings its own htmx."""
    script = f"django_htmx/htmx-{version}.min.js"
    return render(request, "travel/host.html", {"process": Process.objects.get(key=key), "script": script})


def wilful(request: HttpRequest, version: int, key: str) -> HttpResponse:
    """Show a process twice in a page whose attributes htmx 2 inherits."""
    script = f"django_htmx/htmx-{version}.min.js"
    return render(request, "travel/wilful.html", {"process": Process.objects.get(key=key), "script": script})


def host_results(request: HttpRequest, version: int, key: str) -> HttpResponse:
    """Answer htmx with less than the page, as many views do."""
    if request.headers.get("HX-Request") == "true":
        return HttpResponse("<p>Only a part</p>")
    script = f"django_htmx/htmx-{version}.min.js"
    return render(request, "travel/results.html", {"process": Process.objects.get(key=key), "script": script})


def together(request: HttpRequest, version: int, key: str) -> HttpResponse:
    """Show a process in several ways, and all that there are, in a page whose links htmx follows."""
    script = f"django_htmx/htmx-{version}.min.js"
    return render(request, "travel/together.html", {"process": Process.objects.get(key=key), "script": script})
