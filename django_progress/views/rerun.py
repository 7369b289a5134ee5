"""Running a workflow again: what would run and what would be reused, and doing it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from ..conf import settings
from ..exceptions import NothingFailed, ProcessActive, ProgressError, RetryNotPossible, StepNotFound, StepNotReady
from ..models import Process
from ..workflows import Preview, PreviewRow, Way, preview, run_again
from .guards import for_people, for_programs, not_allowed, private, problem, wants_json
from .leaving import go
from .overrides import templates
from .verbs import for_programs_that_control, for_whoever_controls, verb

__all__ = ["Rerun", "Wish", "plan", "rerun"]

MOST = 500
"""How many steps are listed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of a workflow is to run again."""

    way: Way
    path: str

    @classmethod
    def of(cls, data: QueryDict) -> Wish:
        """Read what was asked for; raises ``ValueError`` for a way that isn't known."""
        way = Way(data.get("way", Way.FAILED))
        return cls(way, data.get("path", "") if way.takes_path else "")

    @property
    def query(self) -> str:
        """The same as a query string."""
        return urlencode({"way": self.way.value, **({"path": self.path} if self.path else {})})


class Rerun:
    """What running a workflow again would come to, for a page."""

    def __init__(self, process: Process, wish: Wish | None) -> None:
        self.process = process
        self.wish = wish
        self.preview: Preview | None = None
        self.refusal = ""
        """Why it can't be done, in words for people."""
        try:
            if wish is None:
                raise StepNotFound
            self.preview = preview(process, wish.way, wish.path)
        except ProgressError as error:
            self.refuse(error)

    def refuse(self, error: ProgressError) -> None:
        """Note that it can't be done, and why."""
        self.preview, self.refusal = None, _in_words(error)

    @cached_property
    def rows(self) -> list[PreviewRow]:
        """The steps; where what was asked for makes no sense, as they would all run."""
        shown = self.preview
        if shown is None:
            try:
                shown = preview(self.process, Way.ALL)
            except ProgressError:
                return []
        return list(shown.rows[:MOST])

    @property
    def more(self) -> int:
        """How many steps are not listed."""
        return max(0, len(self.preview.rows) - MOST) if self.preview else 0

    @property
    def chosen(self) -> str:
        """What is said of the step that was chosen."""
        if self.preview is None or not self.preview.way.takes_path:
            return ""
        name = self.preview.path.partition("[")[0]
        title = next((row.title for row in self.preview.rows if row.path == name), name)
        return title if name == self.preview.path else f"{title} {self.preview.path.removeprefix(name)}"


def _in_words(error: ProgressError) -> str:
    match error:
        case ProcessActive():
            return gettext("It has not ended yet. When it has, it can run again.")
        case NothingFailed():
            return gettext("Every step has succeeded. Choose the one to run again.")
        case StepNotReady():
            return gettext(
                "This step can't run by itself, because a step before it was skipped, or has no result that is still "
                "good."
            )
        case StepNotFound():
            return gettext("There is no such step. Choose one of these.")
        case RetryNotPossible(__cause__=None):
            return gettext("This has no steps that could run again.")
    return gettext("This can't run again as it was: its steps are others by now. Start a new one.")


def _problem(error: Exception) -> HttpResponse:
    codes: dict[type[Exception], str] = {
        ProcessActive: "still_active",
        NothingFailed: "nothing_failed",
        StepNotReady: "step_not_ready",
        StepNotFound: "unknown_step",
    }
    return problem(409, codes.get(type(error), "not_plannable" if error.__cause__ else "no_workflow"), str(error))


def _unknown_way() -> HttpResponse:
    return problem(400, "unknown_way", f"way must be one of {', '.join(Way)}, or left out for {Way.FAILED.value}.")


@verb
def rerun(request: HttpRequest, process: Process) -> HttpResponse:
    """Run a workflow that has ended again, and go to the wait page of the process that does."""
    try:
        wish = Wish.of(request.POST)
    except ValueError:
        if wants_json(request):
            return _unknown_way()
        return go(request, reverse("django_progress:process-rerun-plan", args=[process.key]))
    try:
        again = run_again(process, wish.way, wish.path, by=request.user)
    except ProgressError as error:
        if wants_json(request):
            return _problem(error)
        # The page says why.
        return go(request, f"{reverse('django_progress:process-rerun-plan', args=[process.key])}?{wish.query}")
    return again.accepted(request) if wants_json(request) else again.redirect_to_wait(request)


@for_people(page="process-rerun-plan", is_page=True)
@for_whoever_controls
def _page(request: HttpRequest, process: Process) -> HttpResponse:
    try:
        wish = Wish.of(request.GET)
    except ValueError:
        wish = None
    context = {"process": process, "rerun": Rerun(process, wish), "base_template": settings.BASE_TEMPLATE}
    return render(request, templates(process.kind, "rerun.html"), context)


@for_programs
@for_programs_that_control
def _told(request: HttpRequest, process: Process) -> HttpResponse:
    try:
        wish = Wish.of(request.GET)
    except ValueError:
        return _unknown_way()
    try:
        planned = preview(process, wish.way, wish.path)
    except ProgressError as error:
        return _problem(error)
    return JsonResponse(as_json(process, planned))


def as_json(process: Process, planned: Preview) -> dict[str, Any]:
    """Return what would become of each step, for a program."""
    return {
        "id": str(process.key),
        "way": planned.way.value,
        "path": planned.path,
        "runs": planned.runs,
        "reused": planned.reused,
        "stale": planned.stale,
        "steps": [
            {
                "path": row.path,
                "description": row.title,
                "fate": row.fate,
                "parts": {"total": row.parts, "run": row.parts_run} if row.parts else None,
            }
            for row in planned.rows[:MOST]
        ],
        "links": {"rerun": reverse("django_progress:process-rerun", args=[process.key])},
    }


@require_safe
def _by_people(request: HttpRequest, key: UUID) -> HttpResponse:
    return _page(request, key=key)


@login_not_required
@private
def plan(request: HttpRequest, key: UUID) -> HttpResponse:
    """Show what would run again and what would be reused, to whoever may have it done."""
    if not wants_json(request):
        return _by_people(request, key=key)
    if request.method not in ("GET", "HEAD"):
        return not_allowed(request, "GET", "HEAD")
    return _told(request, key=key)
