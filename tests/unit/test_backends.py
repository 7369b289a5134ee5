"""Object permissions, asked as any Django permission is."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db.models import Q

from django_progress import access, sharing
from django_progress.models import Event, Process

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

VIEW, CHANGE, DELETE = (f"django_progress.{verb}_process" for verb in ("view", "change", "delete"))
OURS = "django_progress.backends.ProcessBackend"


@pytest.fixture(autouse=True)
def backends(settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", OURS]


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="for ann")


@pytest.fixture
def process(ann: User) -> Process:
    return Process.objects.start("Work", owner=ann)


def allowed(user: Any, process: Any) -> list[bool]:
    """Ask in every way there is, by a user that remembers nothing; all must agree."""
    user = User.objects.get(pk=user.pk) if user.pk else user
    asked = [user.has_perm(perm, process) for perm in (VIEW, CHANGE)]
    assert [async_to_sync(user.ahas_perm)(perm, process) for perm in (VIEW, CHANGE)] == asked
    assert user.has_perms([VIEW, CHANGE], process) is all(asked)
    if not user.is_superuser:
        assert user.get_all_permissions(process) == {
            perm for perm, may in zip((VIEW, CHANGE), asked, strict=True) if may
        }
        assert not user.has_perm(DELETE, process)
    return asked


def staff(name: str, *codenames: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def test_each_as_on_the_pages(ann: User, process: Process) -> None:
    ben = User.objects.create_user("ben")
    assert allowed(ann, process) == [True, True]
    assert allowed(ben, process) == [False, False]
    sharing.share(process, ben)
    assert allowed(ben, process) == [True, False]
    assert allowed(staff("cora", "view_process"), process) == [True, False]
    assert allowed(staff("dora", "change_process"), process) == [True, True]
    assert allowed(staff("eve"), process) == [False, False]
    assert allowed(AnonymousUser(), process) == [False, False]


def test_who_is_not_active_may_nothing(ann: User, process: Process) -> None:
    User.objects.update(is_active=False)
    assert allowed(ann, process) == [False, False]
    inactive = staff("cora", "view_process", "change_process")
    User.objects.update(is_active=False)
    assert allowed(inactive, process) == [False, False]


def test_django_asks_nobody_about_superusers(process: Process) -> None:
    root = User.objects.create_superuser("root")
    assert allowed(root, process) == [True, True]
    assert root.has_perm(DELETE, process)
    User.objects.update(is_active=False)
    assert allowed(root, process) == [False, False]


def test_a_process_of_a_visitor_is_no_accounts(ann: User) -> None:
    process = Process.objects.start("Work")
    Process.objects.filter(pk=process.pk).update(visitor="v" * 64)
    assert allowed(ann, Process.objects.get(pk=process.pk)) == [False, False]
    assert allowed(AnonymousUser(), process) == [False, False]


@pytest.mark.parametrize("what", ["an event", "a user", "another pk", "the class", "nothing"])
def test_of_anything_else_it_knows_nothing(ann: User, process: Process, what: str) -> None:
    obj: Any = {
        "an event": lambda: Event.objects.filter(process=process)[0],
        "a user": lambda: ann,
        "another pk": lambda: process.pk,
        "the class": lambda: Process,
        "nothing": lambda: None,
    }[what]()
    assert allowed(ann, obj) == [False, False]


def test_permissions_without_an_object_are_djangos(process: Process) -> None:
    user = staff("cora", "view_process")
    assert user.has_perm(VIEW)
    assert not user.has_perm(CHANGE)
    assert user.has_module_perms("django_progress")


def test_it_logs_nobody_in(ann: User, client: Any, settings: Any) -> None:
    assert client.login(username="ann", password="for ann")
    settings.AUTHENTICATION_BACKENDS = [OURS]
    assert not client.login(username="ann", password="for ann")


class Closed(access.Policy):
    """Lets everybody see everything, and nobody do anything."""

    def viewable(self, who: access.Who) -> Q:
        return access.EVERYTHING

    def controllable(self, who: access.Who) -> Q:
        return access.NOTHING

    def owns(self, who: access.Who, process: Process) -> bool:
        return False


def test_it_goes_by_the_projects_policy(ann: User, process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"ACCESS_POLICY": f"{__name__}.Closed"}
    assert allowed(ann, process) == [True, False]
    assert allowed(User.objects.create_user("ben"), process) == [True, False]
