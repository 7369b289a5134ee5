"""The steps of workflows, by everybody: whoever may see or change the workflow may its steps, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import RequestFactory

from django_progress.models import Process, Step
from django_progress.workflows import Workflow
from tests.access.asking import HTMX, JSON, READING, ask, check_refusal, routes, state, url_of
from tests.access.people import ASKING, TITLE, World
from tests.workflows.conftest import define

__all__ = ["define"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


class Stepped(World):
    """A workflow in place of a task."""

    workflow: Workflow

    def _start(self, whose: str) -> Process:
        if whose == "owned":
            return self.workflow.start(self.ann)
        request = RequestFactory().post("/")
        request.user, request.session = AnonymousUser(), self.visitor.session
        started = self.workflow.start(request)
        request.session.save()
        return started

    @property
    def step(self) -> Process:
        found = Step.objects.get(process=self.process).execution
        assert found is not None
        return found


@pytest.fixture
def world(define: Callable[..., Workflow]) -> Callable[[str], Stepped]:
    workflow = define(description="All of it")
    workflow.step(name="load", description=TITLE)(lambda step: None)

    def world(who: str) -> Stepped:
        Stepped.workflow = workflow
        return Stepped("visited" if who == "visitor who started it" else "owned")

    return world


def is_refused(response: Any) -> bool:
    """Return whether it is what a missing one would be answered."""
    led = f"{response.get('Location')}{response.get('HX-Redirect')}"
    return response.status_code == 404 or "/accounts/login/" in led


@pytest.mark.parametrize("who", ASKING, ids=lambda who: who.replace(" ", "_"))
def test_reading(world: Callable[[str], Stepped], who: str) -> None:
    made = world(who)
    client, step = ASKING[who](made), made.step
    for name in (*routes("page"), *routes("json")):
        for method, query, headers in READING:
            whole = ask(client, method, url_of(name, made.process) + query, headers)
            url = url_of(name, step) + query
            if is_refused(whole):
                assert check_refusal(client, step, method, url, headers).status_code == whole.status_code
                continue
            answer = ask(client, method, url, headers)
            assert answer.status_code == whole.status_code, (method, url, headers)
            # Only its own page leads back: a host may show a fragment to whom it likes.
            leads_back = name == "process-detail" and method == "GET" and answer.status_code == 200
            assert (str(made.process.key).encode() in answer.content) == leads_back, (method, url, headers)


@pytest.mark.parametrize("headers", [{}, HTMX, JSON], ids=["browser", "htmx", "program"])
@pytest.mark.parametrize("who", ASKING, ids=lambda who: who.replace(" ", "_"))
def test_changing(world: Callable[[str], Stepped], who: str, headers: dict[str, str]) -> None:
    made = world(who)
    client, step = ASKING[who](made), made.step
    for name in routes("verb"):
        with transaction.atomic():
            whole: Any = ask(client, "POST", url_of(name, made.process), headers)
            transaction.set_rollback(True)
        with transaction.atomic():
            before = state(step), state(made.process)
            url = url_of(name, step)
            if is_refused(whole):
                assert check_refusal(client, step, "POST", url, headers).status_code == whole.status_code
            else:
                assert (ask(client, "POST", url, headers).status_code == 403) == (whole.status_code == 403)
            is_done = name == "process-cancel" and whole.status_code != 403 and not is_refused(whole)
            assert ((state(step), state(made.process)) != before) == is_done
            transaction.set_rollback(True)
