"""The pages of the gallery. Each example is started by a POST to its page."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from django_progress.access import may_control, visible_to
from django_progress.models import Process
from django_progress.sharing import get_share_url, revoke_share_urls
from django_progress.status import Status

from . import charts, features, places, rows, tasks, workflow
from . import flights as flying
from .forms import EndpointForm, FlightForm, ImportForm
from .models import Airport, Endpoint, RefusedRow, Upload


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show what there is."""
    return render(request, "gallery/index.html", {"features": features.FEATURES})


def example(request: HttpRequest, slug: str, **context: Any) -> HttpResponse:
    """Return the page of an example; 422 where its form was filled in wrongly."""
    feature = features.get(slug)
    wrong = "form" in context and context["form"].is_bound
    return render(request, feature.template, {"feature": feature, **context}, status=422 if wrong else 200)


def seen_process(request: HttpRequest, key: UUID, kind: str, **filters: Any) -> Process:
    """Return a process that whoever asks may see, or raise ``Http404``."""
    return get_object_or_404(visible_to(request), key=key, kind=kind, **filters)


# Wait until time is up


@login_required
def expiry(request: HttpRequest, key: UUID | None = None) -> HttpResponse:
    if request.method == "POST":
        process = Process.objects.start(
            _("Waiting for something that doesn't come…"),
            request=request,
            kind="expiry",
            max_duration=20,
            redirect_url="/expiry/{key}/",
        )
        return process.redirect_to_wait(request)
    ended = seen_process(request, key, "expiry") if key else None
    return example(request, "expiry", process=ended)


# Search in milestones


def flights(request: HttpRequest) -> HttpResponse:
    form = FlightForm(request.POST or None)
    if form.is_valid():
        start, end = form.cleaned_data["origin"], form.cleaned_data["destination"]
        search = tasks.search_flights.using(context={"from": start.label, "to": end.label})
        process = search.start(request, start.iata, end.iata)
        return process.redirect_to_wait(request)
    return example(request, "flights", form=form, places=flying.hubs(), tries=flying.TRIES)


@require_safe
def airport_options(request: HttpRequest) -> HttpResponse:
    """Return options for what is being typed into one of the two fields."""
    typed = request.GET.get("origin") or request.GET.get("destination") or ""
    found = places.suggest(typed[:100], limit=8)
    return render(request, "gallery/airport_options.html", {"places": found})


@require_safe
def flight_results(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show what was found, as a list and on a map."""
    process = seen_process(request, key, "flight-search", status=Status.SUCCEEDED)
    result: Any = process.result
    lines = [_line(journey["stops"]) for journey in result["journeys"]]
    context = {"process": process, "result": result, "lines": lines, "world": charts.world()}
    return render(request, "gallery/flight_results.html", context)


@require_safe
def flight_sorry(request: HttpRequest, key: UUID) -> HttpResponse:
    """Say that nothing was found, and what to do."""
    process = seen_process(request, key, "flight-search", status=Status.FAILED)
    return render(request, "gallery/flight_sorry.html", {"process": process})


@never_cache
@require_POST
def share(request: HttpRequest, key: UUID) -> HttpResponse:
    process = get_object_or_404(visible_to(request), key=key)
    if not may_control(request, process):
        raise PermissionDenied
    if "revoke" in request.POST:
        revoke_share_urls(process, by=request.user)
        return redirect(process.finished_url)
    url = get_share_url(process, expires=timedelta(days=1), by=request.user)
    context = {"process": process, "url": request.build_absolute_uri(url)}
    return render(request, "gallery/shared.html", context)


def _line(stops: list[dict[str, Any]]) -> charts.Line:
    legs = pairwise(stops)
    path = "".join(charts.great_circle(tuple(start["at"]), tuple(end["at"])) for start, end in legs)
    return charts.Line(path, [(stop["code"], charts.project(*stop["at"])) for stop in stops])


# Try again until it works


@login_required
def reattempts(request: HttpRequest) -> HttpResponse:
    form = EndpointForm(request.POST or None)
    if form.is_valid():
        endpoint = Endpoint.objects.create(ready_after=form.cleaned_data["ready_after"])
        connect = tasks.connect.using(retry_delay=form.cleaned_data["retry_delay"])
        process = connect.start(request, endpoint=endpoint.pk)
        return process.redirect_to_wait(request)
    return example(request, "reattempts", form=form)


@never_cache
@require_GET
def endpoint(request: HttpRequest, key: UUID) -> JsonResponse:
    """Answer 503 until this was called often enough."""
    Endpoint.objects.filter(key=key).update(calls=F("calls") + 1)
    called = get_object_or_404(Endpoint, key=key)
    ready = called.calls >= called.ready_after
    return JsonResponse({"ready": ready, "calls": called.calls}, status=200 if ready else 503)


@login_required
@require_safe
def reattempts_result(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show each attempt and what came of it."""
    process = seen_process(request, key, "connect")
    return render(request, "gallery/reattempts_result.html", {"process": process, "attempts": process.attempts})


# Import with a progress bar


@login_required
def import_(request: HttpRequest) -> HttpResponse:
    form = ImportForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        given = form.cleaned_data
        upload = Upload.objects.keep(request.user, given["name"], given["content"])
        process = tasks.import_airports.start(request, upload=upload.pk)
        return process.redirect_to_wait(request)
    return example(request, "import", form=form)


@login_required
def steps(request: HttpRequest) -> HttpResponse:
    form = ImportForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        given = form.cleaned_data
        upload = Upload.objects.keep(request.user, given["name"], given["content"])
        process = workflow.airports.start(request, upload=upload.pk, rehearse="rehearse" in request.POST)
        return process.redirect_to_wait(request)
    return example(request, "steps", form=form)


@login_required
@require_safe
def import_result(request: HttpRequest, key: UUID, kind: str = "airport-import") -> HttpResponse:
    """Show the counts, the airports on a map, and the first rows that were refused."""
    process = seen_process(request, key, kind, status=Status.SUCCEEDED)
    result: Any = process.result
    points = Airport.objects.filter(upload=result["upload"]).values_list("latitude", "longitude")
    context = {
        "process": process,
        "result": result,
        "charts": [
            (_("By country"), charts.bars(result["countries"])),
            (_("By the nearest of our hubs"), charts.bars(result["hubs"])),
        ],
        "world": charts.world(),
        "dots": charts.dots(points),
        "refused": RefusedRow.objects.filter(upload=result["upload"])[:10],
    }
    return render(request, "gallery/import_result.html", context)


@login_required
@require_safe
def refused_rows(request: HttpRequest, key: UUID, kind: str = "airport-import") -> StreamingHttpResponse:
    """Return the rows that were refused as a CSV, each with the reasons."""
    process = seen_process(request, key, kind, status=Status.SUCCEEDED)
    result: Any = process.result
    refused = RefusedRow.objects.filter(upload=result["upload"])
    response = StreamingHttpResponse(_csv(refused.iterator()), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="refused-rows.csv"'
    response["Cache-Control"] = "private, no-store"
    return response


def _csv(refused: Iterator[RefusedRow]) -> Iterator[str]:
    writer = csv.writer(Echo())
    columns: list[str] = []
    for row in refused:
        if not columns:
            columns = [*row.values, *({rows.BEYOND} - set(row.values))]
            # Spreadsheets take a file for UTF-8 that begins with this mark.
            yield "\ufeff" + writer.writerow(["line", "reasons", *map(rows.spreadsheet_safe, columns)])
        cells = [row.line, row.reasons, *(row.values.get(name, "") for name in columns)]
        yield writer.writerow(map(rows.spreadsheet_safe, cells))


class Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


# A block that fills itself


@login_required
def remote(request: HttpRequest, key: UUID | None = None) -> HttpResponse:
    if request.method == "POST":
        process = tasks.find_remote.start(request)
        return redirect("gallery:remote-result", key=process.key)
    asked_for = seen_process(request, key, "remote-airport") if key else None
    return example(request, "remote", process=asked_for)


# Inside an ordinary page


@login_required
def fragments(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        tasks.find_remote.start(request, everywhere=True)
        return redirect("gallery:fragments")
    process = Process.objects.owned_by(request.user).filter(kind="remote-airport").first()
    return example(request, "fragments", process=process)
