"""That the steps of a workflow are seen, and controlled, by exactly those who may do so with the workflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q
from django.test import Client, RequestFactory
from django.urls import URLPattern

from django_progress import access, sharing
from django_progress.backends import CHANGE, VIEW, ProcessBackend
from django_progress.models import AuditEntry, Process
from django_progress.redaction import HIDDEN
from django_progress.urls import urlpatterns
from django_progress.views.listing import Listing
from django_progress.workflows import Workflow, registry
from tests.access.asking import PLACED
from tests.executing import fresh
from tests.workflows.driving import execute, execution

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
    method = client.post if PLACED[str(pattern.name)] == "verb" else client.get
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


def test_sharing_a_step_shares_its_workflow_and_can_be_taken_back(workflow: Workflow, ann: User, bob: User) -> None:
    process = workflow.start(ann)
    child = execution(process, "#.load")
    for shared, taken_back in ((child, child), (child, process), (process, child)):
        sharing.share(shared, bob, by=ann)
        assert access.policy().may_view(access.Who(bob), process)
        sharing.unshare(taken_back, bob, by=ann)
        assert not access.policy().may_view(access.Who(bob), child)
    entries = AuditEntry.objects.order_by("pk").values_list("action", "process_key", "details__name")
    assert list(entries) == [("shared", process.key, "bob"), ("unshared", process.key, "bob")] * 3


def test_revoking_the_links_of_a_workflow_revokes_those_of_its_steps(workflow: Workflow, ann: User) -> None:
    process = workflow.start(ann)
    child = execution(process, "#.load")
    other = execution(workflow.start(ann), "#.load")
    links = [sharing.get_share_url(each) for each in (process, child, other)]

    def working() -> list[bool]:
        return [Client().get(link).status_code == 200 for link in links]

    assert sharing.revoke_share_urls(child) == 1
    assert working() == [True, False, True]
    links[1] = sharing.get_share_url(child)
    assert working() == [True, True, True]
    assert sharing.revoke_share_urls(process) == 2
    assert working() == [False, False, True]


def test_the_admin_offers_to_revoke_the_links_of_steps(workflow: Workflow, ann: User, admin_client: Client) -> None:
    process = workflow.start(ann)
    link = sharing.get_share_url(execution(process, "#.load"))
    page = f"/admin/django_progress/process/{process.pk}/"
    assert "Revoke links" in admin_client.get(f"{page}change/").content.decode()
    admin_client.post(f"{page}revoke/")
    assert Client().get(link).status_code == 404
    assert "Revoke links" not in admin_client.get(f"{page}change/").content.decode()


@pytest.mark.parametrize("is_loaded", [True, False])
def test_what_a_sub_step_is_called_with_is_hidden_by_the_name_that_its_function_gives_it(
    define: Callable[..., Workflow], ann: User, admin_client: Client, is_loaded: bool
) -> None:
    workflow = define(description="Log in everywhere")

    @workflow.step(each=lambda results: ["hunter2"])
    def log_in(step: Process, password: str) -> None: ...

    @workflow.step(each=lambda results: ["example.org", {"token": "t0ken"}])
    def visit(step: Process, host: Any) -> None: ...

    process = workflow.start(ann)
    execute(process, "#.log_in", "#.log_in[0]", "#.visit")
    children = [execution(process, path) for path in ("#.log_in[0]", "#.visit[0]", "#.visit[1]")]
    assert [child.task_args for child in children] == [["hunter2"], ["example.org"], [{"token": "t0ken"}]]
    if not is_loaded:
        registry.forget(workflow.name)
    pages = [
        admin_client.get(f"/admin/django_progress/process/{child.pk}/change/").content.decode() for child in children
    ]
    assert "hunter2" not in pages[0]
    assert ("example.org" in pages[1]) is is_loaded
    assert "t0ken" not in pages[2]
    assert all(HIDDEN in page for page in (pages[0], pages[2]))
