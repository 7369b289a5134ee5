"""What programs read."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple
from uuid import UUID

from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.utils.http import parse_etags

from .. import snapshot
from ..access import find
from ..conf import settings
from ..models import Process
from ..responses import retry_after
from ..status import ACTIVE, TERMINAL
from ..steps import steps_of
from ..waiting import wait_of
from .guards import for_programs, problem, safe_only
from .longpoll import wait_for_event
from .permits import asked_again

__all__ = ["answer", "events", "not_found", "result", "status", "with_etag"]

USUAL_EVENTS = 100
MAX_SEQ = 2**63 - 1


class Refused(Exception):
    """What is asked for makes no sense."""


class Asked(NamedTuple):
    """Which events somebody wants."""

    after: int
    limit: int
    wait: float

    @classmethod
    def by(cls, request: HttpRequest) -> Asked:
        """Read a query string; raises ``Refused`` with a code and a sentence."""
        after = _whole(request.GET.get("after", "0"))
        if after is None or after > MAX_SEQ:
            raise Refused(
                "invalid_after",
                "after must be the number of an event, a whole number from 0 up; take it from last_seq or from the "
                "seq of the last event you have, or leave it out to begin at the first.",
            )
        most = settings.EVENTS_PAGE_SIZE
        limit = _whole(request.GET.get("limit", str(min(USUAL_EVENTS, most))))
        if limit is None:
            raise Refused("invalid_limit", f"limit must be a whole number from 1 to {most}, or left out.")
        wait = _whole(request.GET.get("wait", "0"))
        if wait is None:
            raise Refused(
                "invalid_wait",
                f"wait must be a whole number of seconds, of which {settings.LONG_POLL:g} are kept to at most, or be "
                "left out to be answered at once.",
            )
        return cls(after, min(max(limit, 1), most), min(wait, settings.LONG_POLL))


def not_found() -> HttpResponse:
    """Return the answer for a process that isn't there, or that whoever asks may not see."""
    return problem(404, "not_found", "There is no such process.")


def answer(process: Process, status: int = 200) -> JsonResponse:
    """Return the JSON status of a process."""
    shown = _shown(process)
    return _told(process, shown, shown.as_json(), status)


def with_etag(request: HttpRequest, response: HttpResponse, lasting: dict[str, Any] | None = None) -> HttpResponse:
    """Name the body of an answer by its hash; whoever has it already is told no more than that it is the same.

    Of a body in which the mere passing of time counts for nothing, ``lasting`` is what counts.
    """
    body, weak = (response, "") if lasting is None else (JsonResponse(lasting), "W/")
    etag = f'"{hashlib.sha256(body.content).hexdigest()[:32]}"'
    response["ETag"] = weak + etag
    known = [one.removeprefix("W/") for one in parse_etags(request.headers.get("If-None-Match", ""))]
    if etag not in known and "*" not in known:
        return response
    kept = {name: value for name, value in response.items() if name not in ("Content-Type", "Content-Length")}
    return HttpResponseNotModified(headers=kept)


@for_programs
@safe_only
def status(request: HttpRequest, key: UUID) -> HttpResponse:
    """Tell how it stands; 200 as long as the record exists, however it ended."""
    process = find(request, key)
    if process is None:
        return not_found()
    shown = _shown(process)
    body = shown.as_json()
    return with_etag(request, _told(process, shown, body), _lasting(body))


@for_programs
@safe_only
def result(request: HttpRequest, key: UUID) -> HttpResponse:
    """Tell what it leaves behind, and what it has left so far while it goes on; 200 as long as the record exists."""
    process = find(request, key)
    if process is None:
        return not_found()
    shown = snapshot.build(process)
    return with_etag(request, _told(process, shown, shown.as_result()))


@transaction.non_atomic_requests
@for_programs
@safe_only
def events(request: HttpRequest, key: UUID) -> HttpResponse:
    """Tell the events with a higher number than ``after``, in order; ``wait`` for one where there is none yet."""
    process = find(request, key)
    if process is None:
        return not_found()
    try:
        asked = Asked.by(request)
    except Refused as refusal:
        return problem(400, *refusal.args)
    page = _page(process, asked)
    # By what is stored: of what is overdue, the last event may still be to come.
    if asked.wait and not page["events"] and process.status in ACTIVE and wait_for_event(request, process, asked):
        # By now they may have logged out, or it may be somebody else's.
        process = find(asked_again(request), key)
        if process is None:
            return not_found()
        page = _page(process, asked)
    return JsonResponse(page)


def _shown(process: Process) -> snapshot.Snapshot:
    return snapshot.build(process, snapshot.newest_milestones(process), wait_of(process), steps_of(process))


def _lasting(body: dict[str, Any]) -> dict[str, Any]:
    """Return the status without the numbers that are other ones in a second, though nothing has happened."""
    progress = {**body["progress"], "eta_seconds": body["progress"]["eta_seconds"] is not None}
    return {**body, "progress": progress, "quiet_seconds": body["quiet_seconds"] is not None}


def _told(process: Process, shown: snapshot.Snapshot, body: dict[str, Any], status: int = 200) -> JsonResponse:
    response = JsonResponse(body, status=status)
    if shown.is_active:
        response["Retry-After"] = retry_after(process, shown)
    return response


def _page(process: Process, asked: Asked) -> dict[str, Any]:
    reason, after = "purged", asked.after
    if after > process.last_seq and not _has_reached(process, after):
        reason, after = "unknown", 0
    # Only up to what the row said: what is committed from here on comes with the next request.
    found = list(process.event_set.after(after).filter(seq__lte=process.last_seq)[: asked.limit])
    # Where none is found nothing is said: a replica may have the row before it has the events.
    gone = found[0].seq - 1 if found else after
    return {
        "events": [event.as_json(process.key) for event in found],
        "last_seq": process.last_seq,
        "done": process.status in TERMINAL,
        "reset": None if gone == asked.after else {"after": gone, "reason": reason},
    }


def _has_reached(process: Process, seq: int) -> bool:
    """Ask whether the log is longer than a replica knew."""
    rows = Process.objects.using(router.db_for_write(Process))
    return rows.filter(pk=process.pk, last_seq__gte=seq).exists()


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,100}", text) else None
