"""Who sees the steps of a workflow, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress import sharing
from django_progress.models import Process
from django_progress.workflows import Workflow
from tests.executing import fresh
from tests.workflows.driving import execute, execution

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def process(define: Define, ann: User) -> Process:
    workflow = define(description="Import")
    workflow.step(name="load", description="Loading", each=lambda results: [1, 2, 3])(lambda step, item: item)
    workflow.step(name="report", when=lambda results: False)(lambda step: None)
    return workflow.start(ann)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(process: Process, name: str = "status") -> str:
    return f"/progress/{process.key}/{name}/"


def test_the_json_status_tells_of_the_steps(process: Process, ann: User) -> None:
    execute(process, "#.load", "#.load[1]")
    [load, report] = fresh(process).snapshot().as_json()["steps"]
    assert (load["path"], load["description"], load["status"]) == ("#.load", "Loading", "running")
    assert (load["percent"], load["parts"]) == (33.33, {"total": 3, "left": 2, "failed": 0})
    assert (load["id"], load["reused"]) == (str(execution(process, "#.load").key), False)
    assert load["attempt"]["number"] == 1
    assert load["started_at"]
    assert (report["status"], report["percent"], report["parts"]) == ("inactive", 0, None)
    assert (report["id"], report["attempt"]) == (None, None)
    assert Process.objects.start("x").snapshot().steps == ()


def test_what_failed_is_not_told_of_as_done(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", on_failure="continue")(lambda step: 1 / 0)
    process = workflow.start()
    execute(process, "#.a")
    [told] = fresh(process).snapshot().as_json()["steps"]
    assert (told["status"], told["percent"]) == ("failed", None)
    assert told["error"] == "Something went wrong on our side."


def test_the_address_of_the_status_tells_of_them_too(process: Process, ann: User) -> None:
    answer = logged_in(ann).get(url(process)).json()
    assert [step["path"] for step in answer["steps"]] == ["#.load", "#.report"]


def test_a_step_is_seen_by_whoever_sees_its_workflow(process: Process, ann: User) -> None:
    child = execution(process, "#.load")
    stranger, friend = User.objects.create_user("bob"), User.objects.create_user("carl")
    page = child.get_absolute_url()
    sharing.share(child, friend, by=ann)
    assert process.share_set.count() == 1
    for user, status in ((ann, 200), (friend, 200), (stranger, 404)):
        assert logged_in(user).get(page).status_code == status, user
        assert logged_in(user).get(process.get_absolute_url()).status_code == status, user


def test_lists_show_whole_processes_only(process: Process, ann: User, admin_client: Client) -> None:
    child = execution(process, "#.load")
    page = logged_in(ann).get("/progress/")
    assert str(process.key) in page.content.decode()
    assert str(child.key) not in page.content.decode()
    admin = admin_client.get("/admin/django_progress/process/").content.decode()
    assert "Import" in admin
    assert "Loading" not in admin
    found = admin_client.get("/admin/django_progress/process/", {"q": str(child.key)}).content.decode()
    assert "Loading" in found


def test_workflows_are_listed_by_their_kind(define: Define, process: Process, ann: User, admin_client: Client) -> None:
    other = define(description="Export")
    other.step(name="a")(lambda step: None)
    other.start(ann)
    page = logged_in(ann).get(f"/progress/?kind={process.kind}").content.decode()
    assert "Import" in page
    assert "Export" not in page
    admin = admin_client.get(f"/admin/django_progress/process/?kind={process.kind}").content.decode()
    assert str(process.pk) in admin
    assert "Export" not in admin
    assert [row.pk for row in Process.objects.whole().filter(kind=process.kind)] == [process.pk]


def test_signals_are_of_whole_processes(define: Define, django_capture_on_commit_callbacks: Any) -> None:
    from django_progress.signals import process_finished, process_started

    heard: list[tuple[str, int]] = []

    def started(process: Process, **kwargs: Any) -> None:
        heard.append(("started", process.pk))

    def finished(process: Process, **kwargs: Any) -> None:
        heard.append(("finished", process.pk))

    process_started.connect(started)
    process_finished.connect(finished)
    try:
        workflow = define()
        workflow.step(name="a")(lambda step: None)
        with django_capture_on_commit_callbacks(execute=True):
            process = workflow.start()
            execute(process, "#.a")
    finally:
        process_started.disconnect(started)
        process_finished.disconnect(finished)
    assert heard == [("started", process.pk), ("finished", process.pk)]
