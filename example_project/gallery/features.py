"""What the gallery shows: one page each, and which of its code stands on that page."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from . import sources

__all__ = ["FEATURES", "Feature", "get"]


@dataclass(frozen=True)
class Feature:
    """An example: the name of its URL, its words, what of its code is shown, and for whom it is."""

    slug: str
    title: str | Promise
    summary: str | Promise
    shows: tuple[str, ...]
    is_open: bool = False
    """Whether it works without an account."""

    @property
    def template(self) -> str:
        """The template of its page."""
        return f"gallery/{self.slug}.html"

    def get_absolute_url(self) -> str:
        """Return the address of its page."""
        return reverse(f"gallery:{self.slug}")

    @property
    def sources(self) -> list[sources.Source]:
        """The code that makes it."""
        return [sources.load(name) for name in self.shows]


FEATURES = (
    Feature(
        "import",
        _("Import with a progress bar"),
        _("28,000 airports, or a CSV file of your own, row by row into the database: how far, how fast, how long yet."),
        ("views.import_", "tasks.import_airports"),
    ),
    Feature(
        "steps",
        _("Import in parallel steps"),
        _("The same as a workflow: a check, parts loaded beside each other, counts, a report. Each step has its log."),
        ("workflow.check", "workflow.load", "workflow.explain", "workflow.publish"),
    ),
    Feature(
        "flights",
        _("Search in milestones"),
        _("A search in two stages. Each is an execution of its own, and a failure leads elsewhere than a success."),
        ("views.flights", "tasks.search_flights", "django_progress/flight-search/wait.html", "views.share"),
        is_open=True,
    ),
    Feature(
        "reattempts",
        _("Try again until it works"),
        _("A server that answers 503 at first. The task asks again, every few seconds, up to fifty times."),
        ("views.reattempts", "tasks.connect", "tasks.is_ready"),
    ),
    Feature(
        "expiry",
        _("Wait until time is up"),
        _("No task at all: a process that anything may move. Here nothing does, and after 20 seconds it expires."),
        ("views.expiry",),
    ),
    Feature(
        "remote",
        _("A block that fills itself"),
        _("The progress stands where the result is going to be; when there is one, it takes its place."),
        ("gallery/remote_result.html", "views.remote", "tasks.find_remote"),
    ),
    Feature(
        "fragments",
        _("Inside an ordinary page"),
        _("The status of a process, with a button to cancel it, and a list of yours: included in any template."),
        ("gallery/fragments_included.html", "views.fragments"),
    ),
)


def get(slug: str) -> Feature:
    """Return the feature of that slug."""
    return next(feature for feature in FEATURES if feature.slug == slug)
