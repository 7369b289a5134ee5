"""The page that says what would run again, and the ways to have it done: by form, by program, in the admin."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress import sharing
from django_progress.models import AuditEntry, Process
from django_progress.status import Status
from django_progress.workflows import Workflow, run_again
from tests.executing import fresh
from tests.workflows.driving import drain, queued

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]
JSON = {"accept": "application/json"}
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def broken() -> set[int]:
    """The items that can't be loaded."""
    return {2}


@pytest.fixture
def process(define: Define, ann: User, broken: set[int]) -> Process:
    """One of which one part has failed: the second of three."""
    workflow = define(description=f"Import {EVIL}")
    workflow.step(name="check", description="Checking")(lambda step: [1, 2, 3])

    @workflow.step(description=f"Loading {EVIL}", each=lambda results: results["check"], on_failure="continue")
    def load(step: Process, item: int) -> int:
        if item in broken:
            raise ValueError(item)
        return item

    load.step(name="index")(lambda step: None)
    workflow.step(name="report")(lambda step, results: results["load"])
    process = drain(workflow.start(ann))
    assert (process.status, process.result) == (Status.SUCCEEDED, [1, None, 3])
    broken.clear()
    return process


def plan_of(process: Process, query: str = "") -> str:
    return f"/progress/{process.key}/rerun/plan/{query}"


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode()))


def test_the_page_says_what_runs_and_what_is_reused(client: Client, process: Process) -> None:
    page = client.get(plan_of(process))
    assert page.status_code == 200
    text = text_of(page)
    assert "3 steps run again, 3 results are reused." in text
    assert "1 of 3 run again" in text
    assert EVIL not in page.content.decode()
    assert page.content.decode().count('class="dp-plan-row') == 4
    assert page["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        # What else failed runs too.
        ("?way=from&path=%23.report", "3 steps run again, 3 results are reused."),
        ("?way=only&path=%23.check", "1 step runs again. 3 steps that depend on it don’t run"),
        ("?way=all", "4 steps run again."),
        ("?way=from&path=%23.load%5B0%5D", "4 steps run again"),
        ("?way=only&path=%23.report", "This step can&#x27;t run by itself"),
        ("?way=from&path=%23.nothing", "There is no such step. Choose one of these."),
        ("?way=sideways", "There is no such step. Choose one of these."),
    ],
)
def test_what_is_said_of_each_way(client: Client, process: Process, query: str, said: str) -> None:
    assert said in text_of(client.get(plan_of(process, query)))


def test_where_nothing_failed_a_step_is_chosen(client: Client, process: Process) -> None:
    process = drain(_again(client, process))
    page = client.get(plan_of(process))
    assert "Every step has succeeded. Choose the one to run again." in text_of(page)
    assert "From here" in text_of(page)
    assert b'name="way"' not in page.content


def _again(client: Client, process: Process, **data: str) -> Process:
    answer = client.post(f"/progress/{process.key}/rerun/", data)
    assert answer.status_code == 303
    again = process.retries.get()
    assert answer["Location"] == again.get_wait_url()
    return again


def test_a_form_runs_what_failed(client: Client, process: Process, ann: User) -> None:
    again = _again(client, process)
    assert queued(again) == ["#.load[1]"]
    assert drain(again).result == [1, 2, 3]
    entry = AuditEntry.objects.get(process_key=process.key)
    assert (entry.actor, entry.via, entry.details["way"]) == (ann, "web", "failed")


def test_a_form_runs_from_a_step_on(client: Client, process: Process) -> None:
    assert queued(_again(client, process, way="from", path="#.check")) == ["#.check"]


def test_a_form_that_makes_no_sense_leads_to_the_page_that_says_so(client: Client, process: Process) -> None:
    for data, query in (({"way": "only", "path": "#.no"}, "?way=only&path=%23.no"), ({"way": "x"}, "")):
        answer = client.post(f"/progress/{process.key}/rerun/", data)
        assert (answer.status_code, answer["Location"]) == (303, plan_of(process, query))
        assert client.get(answer["Location"]).status_code == 200
    assert not process.retries.exists()


def test_while_it_goes_on(client: Client, define: Define, ann: User) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: None)
    process = workflow.start(ann)
    assert "It has not ended yet." in text_of(client.get(plan_of(process)))
    answer = client.post(f"/progress/{process.key}/rerun/", headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (409, "still_active")


def test_what_is_removed_meanwhile_is_not_there(
    client: Client, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever tidies up, between the check of who asks and the new process."""
    from django_progress.views import rerun

    def late(old: Process, *args: Any, **kwargs: Any) -> Process:
        fresh(process).remove()
        return run_again(old, *args, **kwargs)

    monkeypatch.setattr(rerun, "run_again", late)
    answer = client.post(f"/progress/{process.key}/rerun/", {"way": "all"}, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_what_has_no_steps(client: Client, ann: User) -> None:
    process = Process.objects.start("Waiting", owner=ann)
    assert "This has no steps that could run again." in text_of(client.get(plan_of(process)))
    assert client.get(plan_of(process), headers=JSON).json()["code"] == "no_workflow"


def test_programs_get_the_plan_and_the_process(client: Client, process: Process) -> None:
    told = client.get(plan_of(process, "?way=from&path=%23.load"), headers=JSON).json()
    assert (told["runs"], told["reused"], told["stale"], told["path"]) == (3, 1, 0, "#.load")
    assert [(step["path"], step["fate"]) for step in told["steps"]] == [
        ("#.check", "reused"),
        ("#.load", "runs"),
        ("#.load.index", "runs"),
        ("#.report", "runs"),
    ]
    assert fresh(process).snapshot().as_json()["links"]["rerun"] == told["links"]["rerun"]
    answer = client.post(told["links"]["rerun"], {"way": "from", "path": "#.load"}, headers=JSON)
    assert answer.status_code == 202
    assert answer.json()["id"] == str(process.retries.get().key)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({"way": "sideways"}, 400, "unknown_way"),
        ({"way": "from"}, 409, "unknown_step"),
        ({"way": "only", "path": "#.report"}, 409, "step_not_ready"),
    ],
)
def test_programs_are_told_why_not(
    client: Client, process: Process, data: dict[str, str], status: int, code: str
) -> None:
    for answer in (
        client.post(f"/progress/{process.key}/rerun/", data, headers=JSON),
        client.get(plan_of(process), data, headers=JSON),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not process.retries.exists()


def test_who_may_only_see_it_has_nothing_run(process: Process, ann: User) -> None:
    friend = User.objects.create_user("bob")
    sharing.share(process, friend, by=ann)
    theirs = Client()
    theirs.force_login(friend)
    assert theirs.get(plan_of(process)).status_code == 403
    assert theirs.post(f"/progress/{process.key}/rerun/").status_code == 403
    assert not process.retries.exists()


@pytest.mark.parametrize("headers", [{}, JSON])
def test_what_is_removed_as_its_plan_is_made_is_not_there(
    client: Client, process: Process, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: Any) -> None:
        raise Process.DoesNotExist

    monkeypatch.setattr("django_progress.views.rerun.preview", gone)
    assert client.get(plan_of(process), headers=headers).status_code == 404


def test_csrf_is_asked_for(process: Process, ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann)
    assert strict.post(f"/progress/{process.key}/rerun/").status_code == 403
    assert not process.retries.exists()


def test_the_status_page_offers_it(client: Client, process: Process) -> None:
    page = client.get(process.get_absolute_url()).content.decode()
    assert 'data-may="rerun"' in page
    assert plan_of(process) in page


# -- the admin ---------------------------------------------------------------------------


def test_staff_chooses_and_runs(admin_client: Client, process: Process) -> None:
    url = f"/admin/django_progress/process/{process.pk}/rerun/"
    assert url in admin_client.get(f"/admin/django_progress/process/{process.pk}/change/").content.decode()
    page = admin_client.get(f"{url}?way=only&path=%23.check")
    assert "1 step runs again" in text_of(page)
    assert EVIL not in page.content.decode()
    answer = admin_client.post(url, {"way": "from", "path": "#.report"})
    again = process.retries.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/django_progress/process/{again.pk}/change/")
    assert AuditEntry.objects.get(process_key=process.key).via == "admin"


def test_staff_runs_what_failed_of_many(admin_client: Client, process: Process, ann: User) -> None:
    other = Process.objects.start("Waiting", owner=ann)
    data = {"action": "rerun_failed_selected", "_selected_action": [process.pk, other.pk]}
    page = admin_client.post("/admin/django_progress/process/", data, follow=True).content.decode()
    assert "1 process was started again." in page
    assert "1 process has no steps that could run again." in page
    again = drain(process.retries.get())
    page = admin_client.post(f"/admin/django_progress/process/{again.pk}/rerun_failed/", follow=True)
    assert "because all its steps have succeeded" in page.content.decode()


def test_staff_that_may_only_see_runs_nothing(process: Process) -> None:
    from django.contrib.auth.models import Permission

    viewer = User.objects.create_user("eve", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_process"))
    client = Client()
    client.force_login(viewer)
    url = f"/admin/django_progress/process/{process.pk}/rerun/"
    assert client.get(url).status_code == client.post(url).status_code == 403
    assert "rerun" not in client.get(f"/admin/django_progress/process/{process.pk}/change/").content.decode()
    assert not process.retries.exists()
