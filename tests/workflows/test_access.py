"""That the steps of a workflow are seen, and controlled, by exactly those who may do so with the workflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q
from django.test import Client, RequestFactory
from django.urls import URLPattern

from django_progress import access
from django_progress.backends import CHANGE, VIEW, ProcessBackend
from django_progress.models import Process
from django_progress.urls import urlpatterns
from django_progress.views.listing import Listing
from django_progress.workflows import Workflow
from tests.executing import fresh
from tests.workflows.driving import execution

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

NOBODYS = Q(owner=None)
KEYED = [pattern for pattern in urlpatterns if "uuid:key" in str(pattern.pattern)]


class Announced(access.Policy):
    """What the site itself does is everybody's to see, and to stop."""

    def viewable(self, who: access.Who) -> Q:
        return super().viewable(who) | NOBODYS

    def controllable(self, who: access.Who) -> Q:
        return super().controllable(who) | NOBODYS

    def own(self, who: access.Who) -> Q:
        return super().own(who) | NOBODYS


@pytest.fixture(autouse=True)
def announced(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"ACCESS_POLICY": f"{__name__}.Announced"}


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def workflow(define: Callable[..., Workflow]) -> Workflow:
    workflow = define(description="Import")
    workflow.step(name="load", description="Loading")(lambda step: None)
    return workflow


def ask(user: User, pattern: URLPattern, process: Process, accept: str) -> int:
    client = Client(headers={"accept": accept})
    client.force_login(user)
    method = client.post if pattern.name in ("process-cancel", "process-retry") else client.get
    return int(method(f"/progress/{pattern.pattern}".replace("<uuid:key>", str(process.key))).status_code)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("pattern", KEYED, ids=lambda pattern: pattern.name)
def test_every_address_of_a_step_is_as_that_of_its_workflow(
    workflow: Workflow, ann: User, bob: User, pattern: URLPattern, accept: str
) -> None:
    process = workflow.start(ann)
    child = execution(process, "#.load")
    assert ask(bob, pattern, process, accept) == 404
    assert ask(bob, pattern, child, accept) == 404
    assert fresh(child).is_active
    assert ask(ann, pattern, child, accept) < 500
    assert ask(ann, pattern, child, accept) != 404
    common = workflow.start()
    assert ask(bob, pattern, execution(common, "#.load"), accept) == ask(bob, pattern, common, accept) != 404


def test_the_policy_answers_for_a_step_by_its_workflow(workflow: Workflow, ann: User, bob: User) -> None:
    policy, process, common = access.policy(), workflow.start(ann), workflow.start()
    for user, whole, allowed in ((ann, process, True), (bob, process, False), (bob, common, True)):
        child = execution(whole, "#.load")
        assert policy.may_view(access.Who(user), child) is allowed
        assert policy.may_control(access.Who(user), child) is allowed
        for permission in (VIEW, CHANGE):
            assert ProcessBackend().has_perm(user, permission, child) is allowed


def test_owners_own_the_steps(workflow: Workflow, ann: User, bob: User, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {}
    child = execution(workflow.start(ann), "#.load")
    assert ProcessBackend().has_perm(ann, CHANGE, child)
    assert not ProcessBackend().has_perm(bob, VIEW, child)


def test_no_list_has_steps(workflow: Workflow, ann: User, bob: User) -> None:
    workflow.start(ann)
    common = workflow.start()
    assert [row.process for row in Listing(access.Who(bob)).rows] == [common]
    request = RequestFactory().get("/")
    for user in (bob, AnonymousUser()):
        request.user = user
        assert list(access.visible_to(request)) == [common]
    staff = User.objects.create_superuser("staff")
    request.user = staff
    assert access.visible_to(request).count() == 2


def test_a_stream_of_a_step_goes_on_for_whoever_sees_its_workflow(workflow: Workflow, ann: User, bob: User) -> None:
    process = workflow.start(ann)
    child = execution(process, "#.load")
    request = RequestFactory().get("/")
    for user, seen in ((ann, {process.pk: process.key, child.pk: child.key}), (bob, {})):
        request.user = user
        assert access.visible_among(request, pk__in=[process.pk, child.pk]) == seen
