"""What programs read."""

from __future__ import annotations

import re
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from .. import snapshot
from ..access import find
from ..conf import settings
from ..models import Process
from ..responses import retry_after
from ..waiting import wait_of
from .guards import for_programs, problem

__all__ = ["answer", "events", "not_found", "status"]

USUAL_EVENTS = 100
MAX_SEQ = 2**63 - 1


def not_found() -> HttpResponse:
    """Return the answer for a process that isn't there, or that whoever asks may not see."""
    return problem(404, "not_found", "There is no such process.")


def answer(process: Process, status: int = 200) -> JsonResponse:
    """Return the JSON status of a process."""
    shown = snapshot.build(process, snapshot.newest_milestones(process), wait_of(process))
    response = JsonResponse(shown.as_json(), status=status)
    if shown.is_active:
        response["Retry-After"] = retry_after(shown)
    return response


@require_safe
@for_programs
def status(request: HttpRequest, key: UUID) -> HttpResponse:
    """Tell how it stands; 200 as long as the record exists, however it ended."""
    process = find(request, key)
    return not_found() if process is None else answer(process)


@require_safe
@for_programs
def events(request: HttpRequest, key: UUID) -> HttpResponse:
    """Tell the events with a higher number than ``after``, in order, at most ``limit`` of them."""
    process = find(request, key)
    if process is None:
        return not_found()
    after = _whole(request.GET.get("after", "0"))
    if after is None or after > MAX_SEQ:
        return problem(
            400,
            "invalid_after",
            "after must be the number of an event, a whole number from 0 up; take it from last_seq or from the "
            "seq of the last event you have, or leave it out to begin at the first.",
        )
    most = settings.EVENTS_PAGE_SIZE
    limit = _whole(request.GET.get("limit", str(min(USUAL_EVENTS, most))))
    if limit is None:
        return problem(400, "invalid_limit", f"limit must be a whole number from 1 to {most}, or left out.")
    # Only up to what the row said: what is committed from here on comes with the next request.
    found = process.event_set.after(after).filter(seq__lte=process.last_seq)[: min(max(limit, 1), most)]
    return JsonResponse(
        {
            "events": [event.as_json(process.key) for event in found],
            "last_seq": process.last_seq,
            "done": process.is_finished,
        }
    )


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,100}", text) else None
