"""The steps of a workflow in admin: a tree on its page, bounded, and a list of the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_progress.models import Process, Step
from django_progress.workflows import Workflow, registry
from tests.executing import inside
from tests.unit.conftest import conf, engine
from tests.workflows.driving import execute, execution, step, take

__all__ = ["conf", "engine"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

SCRIPT = "<script>alert(1)</script>"
PROCESSES, STEPS = "/admin/django_progress/process/", "/admin/django_progress/step/"


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    names = []

    def begin(count: int = 3) -> Process:
        names.append(f"admin-steps-{count}")
        workflow = Workflow(names[-1], description="Import")

        @workflow.step(description="Loading", each=lambda results: list(range(count)), on_failure="continue")
        def load(step: Process, item: int) -> float:
            return 1 / item

        load.step(name="index", description=SCRIPT)(lambda step: 1 / 0)
        process = workflow.start()
        execute(process, "#.load", *(f"#.load[{number}]" for number in range(min(count, 3))))
        return process

    yield begin
    for name in names:
        registry.forget(name)


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_of_a_workflow_shows_its_steps(start: Callable[..., Process], admin_client: Client) -> None:
    process = start()
    running = take(process, "#.load.index")
    shown = page(admin_client, f"{PROCESSES}{process.pk}/change/")
    assert shown.count("<code>#.load") == 2  # Its parts are counted.
    assert "3 of 3 parts" in shown
    assert "1 failed" in shown
    assert f'href="{PROCESSES}{execution(process, "#.load.index").pk}/change/"' in shown
    assert SCRIPT not in shown
    with inside(running) as step:
        step.set_progress(1, 4)
        assert 'value="25"' in page(admin_client, f"{PROCESSES}{process.pk}/change/")
        step.fail(ValueError(SCRIPT))
    shown = page(admin_client, f"{PROCESSES}{process.pk}/change/")
    assert "Something went wrong on our side." in shown
    assert unescape(shown).count(f"ValueError: {SCRIPT}") >= 1
    assert SCRIPT not in shown


def test_parts_are_listed_by_themselves(start: Callable[..., Process], admin_client: Client) -> None:
    process = start()
    other = start(2)
    shown = page(admin_client, f"{PROCESSES}{process.pk}/change/")
    address = unescape(shown.split(f'href="{STEPS}')[1].split('"')[0])
    listed = page(admin_client, STEPS + address)
    assert [listed.count(f"#.load[{number}]") for number in range(3)] == [1, 1, 1]
    assert "#.load.index" not in listed
    failed = page(admin_client, f"{STEPS}{address}&status__exact=failed")
    assert "#.load[0]" in failed
    assert "#.load[1]" not in failed
    found = page(admin_client, f"{STEPS}?q={other.key}")
    assert "#.load[1]" in found
    assert "#.load[2]" not in found
    part = page(admin_client, f"{STEPS}{step(process, '#.load[0]').pk}/change/")
    assert "ZeroDivisionError" in part


def test_the_list_of_parts_costs_the_same_for_any_number(start: Callable[..., Process], admin_client: Client) -> None:
    costs = []
    for count in (3, 60):
        process = start(count)
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, f"{STEPS}?process={process.pk}")
        costs.append(len(captured))
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, f"{PROCESSES}{process.pk}/change/")
        costs.append(len(captured))
    assert costs[:2] == costs[2:]


def test_the_page_of_a_step_leads_to_its_workflow(start: Callable[..., Process], admin_client: Client) -> None:
    process = start()
    shown = page(admin_client, f"{PROCESSES}{execution(process, '#.load').pk}/change/")
    assert f'href="{PROCESSES}{process.pk}/change/"' in shown
    assert "dp-steps" not in shown
    assert "Step of" not in page(admin_client, f"{PROCESSES}{process.pk}/change/")


def test_steps_are_not_changed_and_not_in_the_way(start: Callable[..., Process], admin_client: Client) -> None:
    process = start()
    row = step(process, "#.load")
    assert admin_client.get(f"{STEPS}add/").status_code == 403
    assert admin_client.post(f"{STEPS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    process.cancel()
    Process.objects.filter(parent=process, status="pending").update(status="cancelled", finished_at=process.created_at)
    data: dict[str, Any] = {"action": "delete_selected", "_selected_action": [process.pk], "post": "yes"}
    assert admin_client.post(PROCESSES, data).status_code == 302
    assert not Step.objects.exists()
