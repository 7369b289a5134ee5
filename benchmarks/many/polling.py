"""What one poll of many parallel tasks costs, ours and celery-progress's."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from statistics import median
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.result import AsyncResult, GroupResult
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django_celery_results.models import TaskResult

from benchmarks.many.tasks import together
from django_progress import engines
from django_progress.models import Process
from django_progress.publishing import CeleryEngine
from tests.celery import app
from tests.executing import execute
from tests.workflows.driving import body

__all__ = ["Poller", "client_of", "growth", "measured", "nothing_sent", "peers", "poll_of", "saved_group", "started"]

MOST = 200
"""Polls of one kind and size."""
BUDGET = 5_000.0
"""Milliseconds that all of them may take; the peer's are slow."""

Poll = Callable[[], object]


def started(parts: int, owner: Any) -> Process:
    """Return a workflow that runs, with so many parallel parts that wait, one that ended and none that runs."""
    process = together.start(owner, parts=parts)
    for path in ("#.plan", "#.part", "#.part[0]"):
        execution = process.steps.select_related("execution").get(path=path).execution
        assert execution is not None
        execute(execution, body)
    assert process.steps.filter(parent_path="#.part").count() == parts
    return process


class Silent(CeleryEngine):
    """Celery, but nobody is told: what is polled is to stay as it is."""

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        return True


@contextmanager
def nothing_sent() -> Iterator[None]:
    """Send no messages."""
    engines.register(Silent())
    try:
        yield
    finally:
        engines.register(CeleryEngine())


class Poller:
    """A browser with a page that shows a workflow, as far as it asks the server."""

    def __init__(self, client: Client, process: Process) -> None:
        self._client = client
        self._page = process.get_absolute_url()
        self._status = reverse("django_progress:process-status", args=[process.key])
        self._address = ""

    def look(self) -> None:
        """Load the page, which says what to ask from then on."""
        found = re.search(r'hx-get="([^"]*/fragments/status/[^"]*)"', self._client.get(self._page).content.decode())
        assert found is not None
        self._address = unescape(found[1])

    def unchanged(self) -> None:
        """Ask for what the page shows already."""
        for _try in range(5):
            if self._client.get(self._address).status_code == 204:
                return
            self.look()  # It has been a while, and the times that are shown have changed.
        raise AssertionError("What a page has just been told is not what it shows.")

    def changed(self) -> None:
        """Ask for what is newer than what the page shows."""
        response = self._client.get(re.sub("dp-shown=[^&]*", "dp-shown=older", self._address))
        assert response.status_code == 200
        assert "hx-get" in response.content.decode()

    def status(self) -> None:
        """Ask for the JSON status."""
        response = self._client.get(self._status)
        assert response.status_code == 200
        assert response.json()["steps"]


def saved_group(celery: Celery, size: int) -> str:
    """Save a group of tasks of which half have ended, as Celery would have, and return its id."""
    ids = [str(uuid4()) for _ in range(size)]
    ended = ids[: size // 2]
    if celery.conf.result_backend == "django-db":
        TaskResult.objects.bulk_create(
            [
                TaskResult(task_id=one, status="SUCCESS", result="1", content_type="application/json",
                           content_encoding="utf-8")
                for one in ended
            ],
            batch_size=500,
        )  # fmt: skip
    else:
        for one in ended:
            celery.backend.store_result(one, 1, "SUCCESS")
    group = GroupResult(str(uuid4()), [AsyncResult(one, app=celery) for one in ids], app=celery)
    group.save()
    return str(group.id)


@contextmanager
def peers(backends: dict[str, str]) -> Iterator[dict[str, Celery]]:
    """Have sites whose results are kept elsewhere, by name, and leave nothing behind where they are."""
    prefix = f"{settings.RUN}_peer_"
    sites = {name: Celery(name, set_as_current=False) for name in backends}
    for name, site in sites.items():
        options = {"global_keyprefix": prefix}
        site.conf.update(result_backend=backends[name], result_backend_transport_options=options)
    try:
        yield sites
    finally:
        for site in sites.values():
            if site.conf.result_backend != "django-db":
                for key in site.backend.client.scan_iter(match=f"{prefix}*"):
                    site.backend.client.delete(key)


def poll_of(client: Client, celery: Celery, group: str) -> Poll:
    """Return what asks celery-progress how far a group is."""
    address = reverse("celery_progress:group_status", args=[group])

    def poll() -> None:
        celery.set_current()
        try:
            response = client.get(address)
        finally:
            app.set_current()
        assert response.status_code == 200
        assert response.json()["progress"]["total"]

    return poll


def measured(kinds: dict[str, dict[int, Poll]]) -> dict[str, dict[int, list[float]]]:
    """Time polls of each kind and size, one by one and in turns; return the milliseconds of each."""
    times: dict[str, dict[int, list[float]]] = {kind: {size: [] for size in polls} for kind, polls in kinds.items()}
    for polls in kinds.values():
        for poll in polls.values():
            poll()
    for _round in range(MOST):
        for kind, polls in kinds.items():
            for size, poll in polls.items():
                if sum(times[kind][size]) < BUDGET:
                    begin = time.perf_counter()
                    poll()
                    times[kind][size].append((time.perf_counter() - begin) * 1000)
    return times


def growth(times: dict[int, list[float]]) -> float:
    """Return how many times as long the slowest size takes as the smallest."""
    smallest, *others = map(median, times.values())
    return max(others) / smallest


def client_of(name: str) -> tuple[Client, Any]:
    """Return a browser in which somebody is logged in, and who."""
    user = get_user_model().objects.create_user(name)
    client = Client()
    client.force_login(user)
    return client, user
