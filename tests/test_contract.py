"""The public contract, line by line, with Celery executing inline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, RequestFactory
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from django_progress.exceptions import IdempotencyConflict, ProcessFinished, UnsafeURL
from django_progress.models import Process
from django_progress.status import Status
from django_progress.tasks import progress_task
from tests.celery import app
from tests.travel import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann", password="ann")


def test_view_starts_and_leads_to_the_wait_page_and_on(client: Client, user: User) -> None:
    client.force_login(user)
    answer = client.post("/flights/search/", {"query": "direct"})
    process = Process.objects.get()
    assert answer.status_code == 303
    assert answer["Location"] == process.get_wait_url()
    assert process.owner == user
    assert process.kind == "flight-search"
    assert process.status == Status.SUCCEEDED
    assert process.result == ["direct"]
    assert process.finished_url == f"/flights/results/{process.key}/"
    page = client.get(answer["Location"], follow=True)
    assert page.redirect_chain[-1][0] == process.finished_url
    assert b"direct" in page.content


def test_htmx_request_is_led_by_header(client: Client, user: User) -> None:
    client.force_login(user)
    answer = client.post("/flights/search/", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert answer["HX-Redirect"] == Process.objects.get().get_wait_url()


def test_api_client_gets_202(client: Client, user: User) -> None:
    client.force_login(user)
    answer = client.post("/flights/api/")
    process = Process.objects.get()
    body = json.loads(answer.content)
    assert answer.status_code == 202
    assert answer["Location"] == f"/progress/{process.key}/status/" == body["url"]
    assert body["id"] == str(process.key)
    assert body["status"] == "succeeded"
    assert set(body) == set(
        "id kind description status done progress messages milestones steps attempt cancel_requested created_at "
        "started_at updated_at finished_at expires_at seq result error url links waiting quiet_seconds".split()
    )
    assert set(body["progress"]) == {"current", "total", "percent", "unit", "rate", "eta_seconds"}


def test_each_milestone_is_an_execution_of_its_own() -> None:
    process = tasks.search_flights.start(None, query="flight #1234")
    assert process.status == Status.SUCCEEDED
    assert process.result == ["via Lisbon"]
    assert [event.name for event in process.milestones] == ["started", "ours", "partners"]
    assert [(attempt.number, attempt.outcome) for attempt in process.attempts] == [(1, "requeued"), (2, "succeeded")]
    assert len({attempt.task_id for attempt in process.attempts}) == 2


def test_failure_leads_elsewhere_and_keeps_secrets() -> None:
    process = tasks.search_flights.start(None, query="nowhere")
    assert process.status == Status.FAILED
    assert process.finished_url == "/flights/sorry/"
    public = json.dumps(process.snapshot().as_json())
    assert "secret" not in public
    assert process.error_reference in public
    assert "SELECT secret FROM partners" in process.error_detail
    assert process.snapshot().as_json()["messages"][-1] == {"key": "Error", "value": process.error}


def test_attempts_are_repeated_until_one_succeeds(tmp_path: Path) -> None:
    process = tasks.connect.start(None, str(tmp_path / "calls"))
    assert process.status == Status.SUCCEEDED
    assert [attempt.outcome for attempt in process.attempts] == ["failed", "failed", "succeeded"]
    assert process.attempt_number == 3


def test_attempts_end_when_they_are_used_up() -> None:
    process = tasks.connect.using(max_attempts=4).start(None, "unreachable")
    assert process.status == Status.FAILED
    assert process.attempts.count() == 4


def test_tracked_loop_counts_every_row() -> None:
    process = tasks.import_rows.start(None, upload_id=3)
    assert (process.status, process.current, process.total, process.unit) == (Status.SUCCEEDED, 250, 250, "rows")
    assert process.percent == 100


def test_using_changes_what_is_started_and_not_the_task() -> None:
    other = tasks.nightly.using(max_duration=3600, kind="report", context={"why": "night"})
    process = other.start(None)
    assert (process.kind, process.max_duration, process.context) == ("report", 3600, {"why": "night"})
    assert process.result == str(process.key)
    assert tasks.nightly.start(None).kind == ""


def test_long_form(user: User, rf: RequestFactory) -> None:
    request = rf.post("/")
    request.user = user
    process = Process.objects.start(
        _("Waiting for the courier…"), request=request, max_duration=20, redirect_url="/parcels/"
    )
    assert (process.status, process.owner, process.is_active) == (Status.RUNNING, user, True)
    assert process.finished_url == "/parcels/"
    process = Process.objects.start(
        "…", owner=user, task=tasks.import_rows, kwargs={"upload_id": 3}, context={"upload": 3},
        max_attempts=3, retry_delay=5, attempt_timeout=60, total=100, unit="rows",
        success_url="/a/", failure_url="/b/", expired_url="/c/", cancelled_url="/d/", idempotency_key="import 3",
        max_duration=timedelta(hours=1),
    )  # fmt: skip
    assert process.status == Status.SUCCEEDED
    assert process.finished_url == "/a/"
    assert process.initial_total == 100


def test_process_without_a_task_is_moved_from_anywhere() -> None:
    process = Process.objects.start("Painting")
    process.milestone("primer", "First coat", type="CoatStarted", details={"colour": "white"})
    process.set_progress(1, 4, "walls")
    process.set_message("Room", "Kitchen")
    process.set_message("Painter", "Bo")
    process.set_message("Room", "Hall")
    process.log("The ladder creaks", level="warning")
    process.set_result({"walls": 1})
    other = Process.objects.get(pk=process.pk)
    assert other.messages == [("Room", "Hall"), ("Painter", "Bo")]
    assert other.last_milestone.name == "primer"
    assert other.result == {"walls": 1}
    assert other.percent == 25
    other.redirect_to("/painted/")
    other.succeed()
    assert other.finished_url == "/painted/"
    assert other.result == {"walls": 1}
    with pytest.raises(ProcessFinished):
        process.milestone("second", "Second coat")
    event = other.event_set.get(name="primer")
    assert (event.type, event.details) == ("CoatStarted", {"colour": "white"})


def test_calling_the_task_calls_its_body() -> None:
    process = Process.objects.start("By hand")
    assert tasks.search_flights(process, "direct") == ["direct"]
    assert Process.objects.count() == 1
    process.refresh_from_db()
    assert process.last_milestone.name == "ours"


def test_idempotency_key(client: Client, user: User) -> None:
    client.force_login(user)
    first = client.post("/flights/api/", headers={"Idempotency-Key": "abc"}).json()
    again = client.post("/flights/api/", headers={"Idempotency-Key": "abc"}).json()
    assert first["id"] == again["id"]
    assert Process.objects.count() == 1
    with pytest.raises(IdempotencyConflict):
        tasks.import_rows.using(idempotency_key="abc").start(user, upload_id=3)


def test_descriptions_are_read_in_the_viewers_language() -> None:
    process = Process.objects.start(_("Password"))
    process.milestone("password", _("%(count)s users"), details={"count": 3})
    with translation.override("de"):
        assert process.title == "Passwort"
        assert Process.objects.get().snapshot().title == "Passwort"
    with translation.override("en"):
        assert process.title == "Password"
    assert Process.objects.get().snapshot().milestone == "3 users"


def test_result_that_is_no_json_becomes_a_summary() -> None:
    process = tasks.returns_what_is_no_json.start()
    assert process.status == Status.SUCCEEDED
    assert process.result["type"] == "builtins.object"
    assert "not_stored" in process.result


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Process.objects.start("x", owner=AnonymousUser()), TypeError, "request=request"),
        (lambda: Process.objects.start("x", redirect_url="https://evil.example/"), UnsafeURL, "ALLOWED_REDIRECT_HOSTS"),
        (lambda: Process.objects.start("x", total=-1), ValueError, "total must be between 0"),
        (lambda: Process.objects.start("x", max_duration=0), ValueError, "max_duration must be more than 0"),
        (lambda: Process.objects.start("x", task=len), TypeError, "@progress_task"),
        (lambda: Process.objects.start("x").succeed(object()), TypeError, "can't be stored as JSON"),
        (lambda: Process.objects.start("x").milestone("done"), ValueError, "succeed()"),
        (lambda: Process.objects.start("x").milestone("failed"), ValueError, "fail()"),
        (lambda: Process.objects.start("x").advance(-1), ValueError, "by must be between 0"),
        (lambda: tasks.import_rows.start(None, rows=3), TypeError, "upload_id"),
        (lambda: tasks.import_rows.start(3), TypeError, "for whom"),
        (lambda: tasks.import_rows.delay(3), TypeError, "import_rows.start("),
        (lambda: tasks.import_rows.using(countdown=3), TypeError, "countdown"),
        (lambda: progress_task(bind=True), TypeError, "current_process()"),
        (lambda: progress_task(autoretry_for=(OSError,)), TypeError, "max_attempts="),
        (lambda: progress_task(lambda: None), TypeError, "first argument"),
    ],
)
def test_bad_input_names_cause_and_fix(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
