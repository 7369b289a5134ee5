"""The work of the examples. Each of these is shown on its page as it stands here."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from django_progress.tasks import progress_task

from . import flights, places
from . import workflow as workflow  # workers load this module, and by it the workflow
from .importing import Importer, read_upload
from .models import Endpoint, Upload
from .remoteness import Ranking

if TYPE_CHECKING:
    from django_progress.models import Process

__all__ = ["connect", "find_remote", "import_airports", "search_flights"]


@progress_task(
    description=_("Searching for your flights…"),
    kind="flight-search",
    max_duration=60,
    success_url="/flights/results/{key}/",
    failure_url="/flights/sorry/{key}/",
)
def search_flights(process: Process, origin: str, destination: str) -> dict[str, Any] | None:
    start, end = places.by_iata()[origin], places.by_iata()[destination]
    match process.last_milestone.name:
        case "started":
            process.milestone("ours", _("Searching our own flights"))
            if found := flights.direct(start, end):
                return flights.as_result(start, end, found, by="us")
            process.milestone("partners", _("Asking our partners about connections"))
            process.requeue()  # what follows is an execution of its own, on any worker
        case "partners":
            stops = process.track(places.everywhere(), unit="airports")
            if found := flights.one_stop(start, end, stops):
                return flights.as_result(start, end, found, by="partners")
            process.fail(_("Nobody flies there with only one change of planes."))
    return None


@progress_task(
    description=_("Waiting for a server that is still starting…"),
    kind="connect",
    max_attempts=50,
    retry_delay=2,
    max_duration=300,
    redirect_url="/reattempts/{key}/",
)
def connect(process: Process, endpoint: int) -> None:
    url = Endpoint.objects.get(pk=endpoint).url
    # What is false is tried again after the delay, while attempts and time remain.
    process.attempt(lambda: is_ready(process, url))


def is_ready(process: Process, url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            process.set_message("Last answer", f"{response.status} {response.reason}")
            return True
    except urllib.error.HTTPError as error:
        process.set_message("Last answer", f"{error.code} {error.reason}")
        return False


@progress_task(
    description=_("Importing airports…"),
    kind="airport-import",
    max_attempts=3,
    retry_delay=1,
    max_duration=600,
    success_url="/import/{key}/",
)
def import_airports(process: Process, upload: int) -> dict[str, Any]:
    stored = Upload.objects.get(pk=upload)
    rows = read_upload(stored)
    process.set_message("File", stored.name)
    with Importer(stored) as importer:
        for row in process.track(rows, total=len(rows), unit="rows"):
            importer.add(row)
    return importer.result()


@progress_task(
    description=_("Looking for the most remote airport…"),
    kind="remote-airport",
    max_duration=600,
)
def find_remote(process: Process, everywhere: bool = False) -> dict[str, Any]:
    candidates = places.everywhere() if everywhere else list(places.by_iata().values())
    ranking = Ranking(candidates)
    process.milestone("comparing", _("Comparing each with all the others"))
    for place in process.track(candidates, unit="airports"):
        if ranking.measure(place):
            process.set_message("The most remote so far", place.name)
    return {"compared": len(candidates), "top": ranking.top()}
