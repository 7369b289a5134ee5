"""The import of airports as a workflow: parts of the file beside each other, each on any worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_progress.workflows import Results, Workflow

from .importing import ChunkImporter, read_upload
from .models import RefusedRow, Upload

if TYPE_CHECKING:
    from django_progress.models import Process

__all__ = ["CHUNK", "airports"]

CHUNK = 2_000
"""Rows of one part."""
EXPLAINED = 15

airports = Workflow(
    "airport-steps",
    description=gettext_lazy("Importing airports in parts…"),
    max_attempts=2,
    retry_delay=1,
    max_duration=900,
    success_url="/steps/{key}/",
)


@airports.step(description=gettext_lazy("Checking the file"))
def check(step: Process, upload: int) -> list[list[int]]:
    stored = Upload.objects.get(pk=upload)
    stored.forget_rows()  # whatever an earlier import of the same file left
    count = len(read_upload(stored))
    step.log(_("%(name)s has %(count)d rows.") % {"name": stored.name, "count": count})
    return [[first, min(first + CHUNK, count)] for first in range(0, count, CHUNK)]


@airports.step(description=gettext_lazy("Loading the rows"), weight=8, each=lambda results: results["check"])
def load(step: Process, chunk: list[int], upload: int) -> dict[str, int]:
    with ChunkImporter(Upload.objects.get(pk=upload), *chunk) as importer:
        for row in step.track(importer.rows, unit="rows"):
            importer.add(row)
    step.log(_("Lines %(first)d to %(last)d are loaded.") % importer.lines)
    return {"imported": importer.imported, "refused": importer.refused_count}


@load.step(description=gettext_lazy("Counting by country"))
def countries(step: Process, upload: int) -> list[tuple[str, int]]:
    return counted(upload, "country")


@load.step(description=gettext_lazy("Counting by the nearest hub"))
def hubs(step: Process, upload: int) -> list[tuple[str, int]]:
    return counted(upload, "hub")


@load.step(
    description=gettext_lazy("Explaining what was refused"),
    when=lambda results: any(part["refused"] for part in results["load"]),
)
def explain(step: Process, upload: int) -> None:
    for row in RefusedRow.objects.filter(upload=upload)[:EXPLAINED]:
        step.log(_("Line %(row)s") % {"row": row}, level="warning")


@airports.step(description=gettext_lazy("Publishing the map"), max_attempts=1)
def publish(step: Process, rehearse: bool) -> None:
    parent = step.parent
    if rehearse and parent is not None and parent.retry_of_id is None:  # a second run has more luck
        step.log(_("Connecting to the map server… no answer."), level="error")
        step.fail(_("The map server doesn't answer."))


@airports.step(description=gettext_lazy("Report"), on_complete=lambda result: f"{result['imported']} rows")
def report(step: Process, results: Results, upload: int) -> dict[str, Any]:
    parts, parent = results["load"], step.parent
    return {
        "upload": upload,
        "file": Upload.objects.get(pk=upload).name,
        "imported": sum(part["imported"] for part in parts),
        "refused": sum(part["refused"] for part in parts),
        "countries": results["countries"],
        "hubs": results["hubs"],
        "seconds": round(parent.elapsed if parent is not None else 0.0, 1),
    }


def counted(upload: int, column: str) -> list[tuple[str, int]]:
    """Return how many of its airports have each value of a column, the most frequent first."""
    rows = Upload.objects.get(pk=upload).airports.values_list(column).order_by()
    return list(rows.annotate(count=Count("pk")).order_by("-count", column))
