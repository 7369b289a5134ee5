"""The frozen view, and the JSON made of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from django_progress import snapshot
from django_progress.models import Process
from django_progress.status import Status
from tests.executing import claim, execute, fresh, settle, start

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

KEYS = {
    "id", "kind", "description", "status", "done", "progress", "messages", "milestones", "steps", "attempt",
    "cancel_requested", "created_at", "started_at", "updated_at", "finished_at", "expires_at", "seq", "result",
    "error", "url", "links", "waiting", "quiet_seconds",
}  # fmt: skip


def test_it_is_frozen() -> None:
    frozen = Process.objects.start("x").snapshot()
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.status = Status.FAILED  # type: ignore[misc]


def test_it_takes_two_queries_however_much_there_is() -> None:
    process = start()
    executing = claim(process)
    settle(executing, lambda p: [p.milestone(f"m{number}") for number in range(20)] and None)
    with CaptureQueriesContext(connection) as queries:
        process.snapshot().as_json()
    assert len(queries) == 2


def test_json_of_a_running_one() -> None:
    process = start("Searching", kind="search", max_attempts=3, max_duration=60, total=8, unit="rows")
    claim(process)
    process.milestone("ours", "Our own", type="Looked", details={"a": 1})
    process.set_message("Stage", "Two")
    process.set_progress(2)
    body = json.loads(json.dumps(process.snapshot().as_json()))
    assert set(body) == KEYS
    assert body["id"] == str(process.key)
    assert (body["kind"], body["description"]) == ("search", "Searching")
    assert (body["status"], body["done"]) == ("running", False)
    assert body["progress"] == {
        "current": 2, "total": 8, "percent": 25, "unit": "rows", "rate": None, "eta_seconds": None,
    }  # fmt: skip
    assert body["messages"] == [{"key": "Stage", "value": "Two"}]
    assert [milestone["name"] for milestone in body["milestones"]] == ["started", "ours"]
    assert body["milestones"][1]["details"] == {"a": 1}
    assert body["milestones"][1]["type"] == "Looked"
    assert body["attempt"] == {"number": 1, "max": 3, "next_at": None, "worker_silent": False}
    assert (body["waiting"], body["quiet_seconds"]) == (None, 0)
    assert body["seq"] == fresh(process).last_seq
    assert (body["result"], body["error"], body["finished_at"]) == (None, None, None)
    assert datetime.fromisoformat(body["expires_at"]).tzinfo is not None
    assert set(body["links"]) == {"status", "result", "events", "stream", "page", "wait", "cancel"}


def test_json_of_a_failed_one_says_so_twice() -> None:
    process = start()
    execute(process, lambda p: p.fail("No seats left."))
    body = process.snapshot().as_json()
    assert (body["status"], body["done"]) == ("failed", True)
    assert body["error"] == {"message": "No seats left.", "reference": ""}
    assert body["messages"] == [{"key": "Error", "value": "No seats left."}]
    assert set(body["links"]) == {"status", "result", "events", "stream", "page", "wait", "retry", "finished"}


def test_json_tells_nobody_what_is_for_staff() -> None:
    process = start(context={"secret": "hunter2"}, kwargs={"password": "hunter2"})

    def body(process: Process) -> None:
        raise RuntimeError("hunter2")

    execute(process, body)
    assert "hunter2" in fresh(process).error_detail
    shown = process.snapshot()
    assert "hunter2" not in json.dumps(shown.as_json())
    assert "hunter2" not in repr(shown)
    assert shown.reference == fresh(process).error_reference


def test_a_request_to_cancel_is_shown_until_it_has_ended() -> None:
    process = start()
    executing = claim(process)
    assert process.snapshot().may_cancel
    fresh(process).cancel()
    shown = process.snapshot()
    assert shown.cancel_requested
    assert not shown.may_cancel
    assert "cancel" not in shown.as_json()["links"]
    settle(executing, lambda p: p.checkpoint())
    shown = process.snapshot()
    assert not shown.cancel_requested
    assert shown.may_retry


def test_a_retry_is_linked() -> None:
    process = start()
    process.cancel()
    assert process.snapshot().retried_as == ""
    child = process.retry()
    assert process.snapshot().retried_as == child.get_absolute_url()
    child.cancel()
    newest = process.retry()
    assert process.snapshot().retried_as == newest.get_absolute_url()


@pytest.mark.parametrize(
    ("end", "may"),
    [(lambda p: p.succeed(), False), (lambda p: p.fail("x"), True), (lambda p: p.cancel(), True)],
)
def test_what_may_be_retried(end: Callable[[Process], Any], may: bool) -> None:
    with_task, without = start(), Process.objects.start("x")
    end(with_task)
    end(without)
    assert with_task.snapshot().may_retry is may
    assert not without.snapshot().may_retry


def test_the_deadline_shows_before_it_is_stored() -> None:
    process = Process.objects.start("x", max_duration=20, expired_url="/late/")
    Process.objects.update(expires_at=timezone.now() - timedelta(minutes=5))
    shown = process.snapshot()
    assert (shown.status, shown.is_active, shown.finished_url) == (Status.EXPIRED, False, "/late/")
    assert shown.finished_at == shown.expires_at
    assert fresh(process).status == Status.RUNNING


def test_the_next_attempt_is_shown() -> None:
    process = start(max_attempts=2, retry_delay=60)

    def body(process: Process) -> None:
        raise RuntimeError

    execute(process, body)
    assert process.snapshot().as_json()["attempt"]["next_at"] is not None
    process.cancel()
    assert process.snapshot().as_json()["attempt"]["next_at"] is None


def test_numbers_are_whole_where_they_are() -> None:
    process = Process.objects.start("x", total=3)
    process.set_progress(1.5)
    progress = process.snapshot().as_json()["progress"]
    assert (progress["current"], progress["total"]) == (1.5, 3)
    assert type(progress["total"]) is int


def test_it_shows_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Milestones reached after the row was read belong to the next snapshot."""
    process = Process.objects.start("x")
    build = snapshot.build

    def late(row: Process, *beside: Any) -> Any:
        fresh(row).milestone("late")
        return build(row, *beside)

    monkeypatch.setattr(snapshot, "build", late)
    shown = process.snapshot()
    assert shown.seq == 1
    assert [milestone.name for milestone in shown.milestones] == ["started"]


def test_words_of_ours_are_in_the_viewers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_progress import errors

    monkeypatch.setattr(errors, "GENERIC", "Yes")  # which Django itself can translate
    monkeypatch.setattr(errors, "OWN", {"Yes"})
    process = start()
    execute(process, lambda p: p.fail(RuntimeError()))
    with translation.override("de"):
        assert process.snapshot().error == "Ja"
        assert process.event_set.get(type="failed").text == "Ja"


def test_accepted_is_for_programs() -> None:
    process = start(max_duration=60)
    request = RequestFactory().post("/search/")
    response = process.accepted(request)
    assert response.status_code == 202
    assert response["Location"] == f"/progress/{process.key}/status/"
    assert response["Retry-After"] == "1"
    assert response["Cache-Control"] == "private, no-store"
    assert json.loads(response.content)["id"] == str(process.key)
    process.cancel()
    assert "Retry-After" not in process.accepted(request)


@pytest.mark.parametrize(
    ("headers", "status", "header"),
    [
        ({}, 303, "Location"),
        ({"HX-Request": "true"}, 200, "HX-Redirect"),
        ({"HX-Request": "true", "HX-Boosted": "true"}, 303, "Location"),
    ],
)
def test_it_leads_to_the_wait_page(headers: dict[str, str], status: int, header: str) -> None:
    process = start()
    response = process.redirect_to_wait(RequestFactory().post("/search/", headers=headers))
    assert response.status_code == status
    assert response[header] == process.get_wait_url()


def test_milestones_are_bounded() -> None:
    process = start()
    for number in range(5):
        process.milestone(f"m{number}")
    assert [event.name for event in snapshot.newest_milestones(process, 2)] == ["m3", "m4"]
    assert len(process.snapshot().milestones) == 6
