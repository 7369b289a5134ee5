"""The tasks of the public contract, as a project would write them, and a few that misbehave."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy as _

from django_progress.models import Process
from django_progress.tasks import current_process, progress_task


def search_ours(query: str) -> list[str]:
    return ["direct"] if query == "direct" else []


def search_partners(query: str) -> list[str]:
    if query == "nowhere":
        raise LookupError("SELECT secret FROM partners")
    return ["via Lisbon"]


def connect_remote(host: str) -> bool:
    """Refuse until it was called three times; the calls are counted in the file ``host``."""
    if host == "unreachable":
        return False
    calls = Path(host)
    with calls.open("a") as file:
        file.write("x")
    return len(calls.read_text()) >= 3


rows = [{"number": number} for number in range(250)]


def save(row: dict[str, int]) -> None:
    pass


@progress_task(
    description=_("Searching for your flights…"),
    kind="flight-search",
    max_duration=60,
    success_url="/flights/results/{key}/",
    failure_url="/flights/sorry/",
)
def search_flights(process: Process, query: str) -> Any:
    match process.last_milestone.name:
        case "started":
            process.milestone("ours", _("Searching our flight database"))
            if found := search_ours(query):
                return found
            process.milestone("partners", _("Searching our partners"))
            process.requeue()
        case "partners":
            return search_partners(query)


@progress_task(description=_("Connecting…"), max_attempts=50, retry_delay=5, max_duration=300)
def connect(process: Process, host: str) -> None:
    process.attempt(lambda: connect_remote(host))


@progress_task
def import_rows(process: Process, upload_id: int) -> None:
    for row in process.track(rows, total=len(rows), unit="rows"):
        save(row)


@progress_task
def nightly(process: Process) -> str:
    current = current_process()
    assert current is not None
    return str(current.key)


@progress_task(name="travel.patient", ignore_result=False)
def patient(process: Process, seconds: float = 30, touch: str = "") -> str:
    """Work until it is stopped, swallowing every exception that it can."""
    if touch:
        with Path(touch).open("a") as file:
            file.write(f"{process.executions}\n")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            process.checkpoint()
            time.sleep(0.02)
        except Exception:
            return "swallowed"
    return "waited"


@progress_task
def returns_what_is_no_json(process: Process) -> object:
    return object()
