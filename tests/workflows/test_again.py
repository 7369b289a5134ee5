"""Retrying a workflow that is not here, or no longer what it was, and removing what is part of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import translation

from django_progress.exceptions import RetryNotPossible
from django_progress.models import Process
from django_progress.status import Status
from django_progress.workflows import Workflow, registry
from tests.executing import fresh
from tests.workflows.driving import drain, execute, execution

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]
LIST = "/admin/django_progress/process/"


def forgotten(define: Define, owner: User) -> Process:
    """Start one that this program doesn't know any more."""
    workflow = define()
    workflow.step(name="a")(lambda step: None)
    process = workflow.start(owner)
    registry.forget(workflow.name)
    return process


def built(error: Exception) -> Callable[[Define, User], Process]:
    """Return what starts one whose builder refuses by now what it is given."""

    def start(define: Define, owner: User) -> Process:
        refuse = False

        def build(plan: Any, width: int) -> None:
            if refuse:
                raise error
            plan.step(name="a")(lambda step: None)

        name = "tests-again"
        workflow = Workflow.built_by(name)(build)
        try:
            process = workflow.start(owner, width=1)
        finally:
            registry.forget(name)
        refuse = True
        registry.add(workflow)
        return process

    return start


@pytest.fixture(
    params=[forgotten, built(TypeError("no such width")), built(ValueError("secret")), built(KeyError("secret"))],
    ids=["not loaded", "TypeError", "ValueError", "KeyError"],
)
def lost(request: pytest.FixtureRequest, define: Define, ann: User) -> Any:
    process = request.param(define, ann)
    process.cancel()
    yield process
    registry.forget("tests-again")


def test_a_workflow_that_can_not_be_planned_again(lost: Process, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RetryNotPossible, match="isn't defined here") as refusal:
        lost.retry()
    assert isinstance(refusal.value.__cause__, (registry.WorkflowNotFound, TypeError, ValueError, KeyError))
    assert "can't be started again" in caplog.text
    assert not lost.retries.exists()


def test_a_database_that_fails_is_not_the_workflow_s_fault(define: Define, ann: User) -> None:
    process = built(OperationalError("gone"))(define, ann)
    try:
        process.cancel()
        with pytest.raises(OperationalError, match="gone"):
            process.retry()
    finally:
        registry.forget("tests-again")


def test_programs_are_told(lost: Process, client: Client) -> None:
    answer = client.post(f"/progress/{lost.key}/retry/", headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_plannable")
    assert "secret" not in answer.content.decode()


def test_what_would_run_again_of_it_can_not_be_said(lost: Process, client: Client) -> None:
    plan = f"/progress/{lost.key}/rerun/plan/"
    assert "This can&#x27;t run again as it was" in client.get(plan).content.decode()
    answer = client.get(plan, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_plannable")


def test_people_are_led_to_its_page(lost: Process, client: Client) -> None:
    answer = client.post(f"/progress/{lost.key}/retry/")
    assert (answer.status_code, answer["Location"]) == (303, lost.get_absolute_url())


def test_staff_is_told(lost: Process, admin_client: Client) -> None:
    data = {"action": "retry_selected", "_selected_action": [lost.pk]}
    page = admin_client.post(LIST, data, follow=True).content.decode()
    assert "because of an error that is in the log" in page
    assert "it has no task" not in page


# -- deleting ----------------------------------------------------------------------------


def delete(admin: Client, *processes: Process) -> Any:
    data = {"action": "delete_selected", "_selected_action": [process.pk for process in processes], "post": "yes"}
    # Steps are only found by their key.
    return admin.post(f"{LIST}?q={processes[0].key}", data)


def test_a_step_is_not_deleted_by_itself(define: Define, admin_client: Client) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: None)
    process = drain(workflow.start())
    child = execution(process, "#.a")
    answer = delete(admin_client, child)
    assert answer.status_code == 200
    assert answer.context["protected"]
    assert fresh(child).status == Status.SUCCEEDED
    assert delete(admin_client, process).status_code == 302
    assert not Process.objects.exists()


def test_a_workflow_whose_steps_still_execute_is_not_deleted(define: Define, admin_client: Client) -> None:
    workflow = define()
    workflow.step(name="load", each=lambda results: [1, 2])(lambda step, item: None)
    process = workflow.start()
    execute(process, "#.load")
    fresh(process).cancel()  # Its steps are stopped when that is committed, which it isn't yet.
    answer = delete(admin_client, process)
    assert answer.status_code == 200
    assert answer.context["protected"]
    assert admin_client.post(f"{LIST}{process.pk}/delete/", {"post": "yes"}).status_code == 200
    assert Process.objects.filter(pk=process.pk).exists()


# -- what is said ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (Process.cancel, "The step #.a was cancelled."),
        (Process.expire, "The step #.a has expired."),
    ],
)
def test_a_step_that_somebody_ended_is_named(define: Define, end: Callable[[Process], Any], text: str) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: None)
    process = workflow.start()
    end(execution(process, "#.a"))
    row = fresh(process)
    assert (row.status, row.error) == (Status.FAILED, text)
    event = row.event_set.get(type="failed")
    assert (event.text, event.details["step"]) == (text, "#.a")
    assert event.translatable


def test_parameters_of_a_description_are_its_own(define: Define) -> None:
    workflow = define()
    description = translation.gettext_lazy("Reading %(path)s: %(status)s")
    step = workflow.step(name="a", description=description)(lambda step: None)
    step.description_params = {"path": "/tmp/x", "status": "fine"}
    process = drain(workflow.start())
    event = process.event_set.get(type="step")
    assert event.text == "Reading /tmp/x: fine"


def test_graphs_that_are_kept_are_dropped_by_others_too(
    define: Define, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowded(dict[Any, Any]):
        """What other threads empty as soon as something is in it."""

        def __setitem__(self, key: Any, value: Any) -> None:
            """Lose it."""

    def build(plan: Any) -> None:
        plan.step(name="a")(lambda step: "done")

    monkeypatch.setattr(registry, "_built", Crowded())
    workflow = Workflow.built_by("tests-crowded")(build)
    try:
        assert drain(workflow.start()).result == "done"
    finally:
        registry.forget("tests-crowded")
