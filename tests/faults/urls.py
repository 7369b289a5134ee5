"""The tests' URLs, and one under which a request starts many processes."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.faults.tasks import work


@transaction.atomic
def start_twenty(request: HttpRequest) -> HttpResponse:
    """Start twenty in one transaction: all are published when it commits, one after the other."""
    processes = [work.start(request, "nowhere") for _ in range(20)]
    return processes[-1].redirect_to_wait(request)


urlpatterns = [
    path("twenty/", start_twenty),
    path("", include("tests.urls")),
]
