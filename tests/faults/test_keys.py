"""Fault 55: the same idempotency key, many times at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from django.views.decorators.http import require_POST

from django_progress.exceptions import IdempotencyConflict
from django_progress.models import Process
from django_progress.responses import conflict
from django_progress.tasks import progress_task
from tests.invariants import check_invariants
from tests.races.threads import together
from tests.unit.conftest import FakeEngine, engine

__all__ = ["engine"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

CLIENTS = 20


@progress_task(name="tests.faults.keyed", kind="import")
def import_rows(process: Process, rows: str) -> None: ...


@require_POST
def start_import(request: HttpRequest) -> HttpResponse:
    try:
        process = import_rows.start(request, rows=request.POST["rows"])
    except IdempotencyConflict:
        return conflict()
    return process.accepted(request)


urlpatterns = [path("imports/", start_import), path("progress/", include("django_progress.urls"))]


@pytest.fixture
def post() -> Callable[[int, str], Any]:
    """Post as one of several clients of the same account."""
    ann = User.objects.create_user("ann")
    clients = [Client() for _ in range(CLIENTS)]
    for client in clients:
        client.force_login(ann)

    def post(number: int, rows: str) -> Any:
        return clients[number].post("/imports/", {"rows": rows}, headers={"Idempotency-Key": "order 7"})

    return post


@pytest.fixture
def atomic_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)


@pytest.mark.parametrize("atomic_requests", [False, True], ids=["autocommit", "atomic requests"], indirect=True)
def test_fault_55_the_same_key_at_once_starts_one_process(
    post: Callable[[int, str], Any], engine: FakeEngine, atomic_requests: None
) -> None:
    answers = together(CLIENTS, lambda number: post(number, "seven"))
    process = Process.objects.get()
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["id"] for answer in answers} == {str(process.key)}
    assert {answer["Location"] for answer in answers} == {f"/progress/{process.key}/status/"}
    assert len(engine.published) == 1
    check_invariants()


def test_fault_55_another_body_with_the_key_is_a_conflict(post: Callable[[int, str], Any], engine: FakeEngine) -> None:
    answers = together(CLIENTS, lambda number: post(number, "seven" if number % 2 else "eight"))
    won = Process.objects.get().task_kwargs["rows"]
    for number, answer in enumerate(answers):
        if (won == "seven") == bool(number % 2):
            assert answer.status_code == 202
        else:
            assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
            assert answer.json()["code"] == "idempotency_conflict"
            assert answer["Cache-Control"] == "private, no-store"
    assert len(engine.published) == 1
    check_invariants()
