"""Permits: renewed for many at a time where nothing has changed, and refused in time where something has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as site
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import User
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import access, sharing, visitors
from django_progress.access import Policy, find, visible_to
from django_progress.models import Process
from django_progress.push.hub import Hub
from django_progress.views import permits, renewals
from django_progress.views.permits import Permit, session_word
from django_progress.views.renewals import Basis, unchanged

pytestmark = pytest.mark.django_db(transaction=True)

AGE = 0.4


@pytest.fixture(params=["db", "cached_db"])
def store(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    return str(request.param)


@pytest.fixture
def user(store: str) -> User:
    return User.objects.create_user("ada", password="old")


@pytest.fixture
def process(user: User) -> Process:
    return Process.objects.start("Import", owner=user)


def cookies_of(user: User) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    return {name: cookie.value for name, cookie in client.cookies.items()}


def asked(cookies: dict[str, str], process: Process) -> HttpRequest:
    """Return a request as a stream's view has it when it has let its reader in."""
    request = RequestFactory().get("/")
    request.COOKIES.update(cookies)

    def view(request: HttpRequest) -> HttpResponse:
        assert find(request, process.key)
        return HttpResponse()

    SessionMiddleware(AuthenticationMiddleware(view))(request)
    return request


def visitors_process() -> tuple[dict[str, str], Process]:
    session = import_module(site.SESSION_ENGINE).SessionStore()
    session[visitors.SESSION_KEY] = "a token"
    session.save()
    request = RequestFactory().get("/")
    request.session = session
    return {"sessionid": session.session_key}, Process.objects.start("Import", request=request)


def proven(*bases: Basis) -> list[bool]:
    return unchanged(bases)[1]


def basis_of(user: User, process: Process) -> Basis:
    return Basis(asked(cookies_of(user), process), [process.pk])


# What is proven, and by how much


def test_many_are_proven_by_three_queries(store: str) -> None:
    bases = []
    for number in range(20):
        user = User.objects.create(username=f"user{number}")
        processes = [Process.objects.start("Import", owner=user) for _number in range(10)]
        request = asked(cookies_of(user), processes[0])
        bases += [Basis(request, [process.pk]) for process in processes]
    for _turn in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert proven(*bases) == [True] * 200
        assert len(queries) == 3
    User.objects.filter(username="user7").update(is_active=False)
    assert proven(*bases) == [number // 10 != 7 for number in range(200)]


def test_a_visitor_is_proven(store: str) -> None:
    cookies, process = visitors_process()
    basis = Basis(asked(cookies, process), [process.pk])
    assert proven(basis) == [True]
    Process.objects.update(visitor="somebody else")
    assert proven(basis) == [False]


def test_a_session_that_is_stored_again_says_the_same(user: User, process: Process) -> None:
    basis = basis_of(user, process)
    assert proven(basis) == [True]
    row = Session.objects.get()
    session = import_module(site.SESSION_ENGINE).SessionStore(row.pk)
    time.sleep(1.1)  # It is signed with the second.
    session.save()
    assert Session.objects.get().session_data != row.session_data
    assert proven(basis) == [True]
    session["more"] = 1
    session.save()
    assert proven(basis) == [False]


# What isn't: by what has changed


def log_out(user: User, process: Process) -> None:
    """Log out as in another tab."""
    client = Client()
    client.cookies["sessionid"] = Session.objects.get().pk
    client.logout()


def change_password(user: User, process: Process) -> None:
    user.set_password("new")
    user.save()


def expire(user: User, process: Process) -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    forget_cached()


def delete_session(user: User, process: Process) -> None:
    Session.objects.all().delete()
    forget_cached()


def forget_cached() -> None:
    cache.clear()


def give_away(user: User, process: Process) -> None:
    Process.objects.update(owner=User.objects.create_user("eve"))


LOSSES: list[Any] = [
    pytest.param(log_out, id="logged out elsewhere"),
    pytest.param(delete_session, id="session deleted"),
    pytest.param(expire, id="session expired"),
    pytest.param(change_password, id="password changed"),
    pytest.param(lambda user, process: User.objects.update(is_active=False), id="deactivated"),
    pytest.param(lambda user, process: User.objects.filter(pk=user.pk).delete(), id="user deleted"),
    pytest.param(give_away, id="given away"),
    pytest.param(lambda user, process: Process.objects.update(owner=None), id="nobody's"),
]


@pytest.mark.parametrize("lose", LOSSES)
def test_a_change_is_never_proven_away(lose: Callable[..., object], user: User, process: Process) -> None:
    basis = basis_of(user, process)
    assert proven(basis) == [True]
    lose(user, process)
    assert proven(basis) == [False]


def test_a_login_of_another_is_a_change(user: User, process: Process) -> None:
    """The same key, by a store that keeps it: not Django's, but its rows could be written so."""
    basis = basis_of(user, process)
    eve = User.objects.create_user("eve")
    other = cookies_of(eve)["sessionid"]
    data = Session.objects.get(pk=other).session_data
    Session.objects.exclude(pk=other).update(session_data=data)
    assert proven(basis) == [False]


# What isn't: because it can't be


class OwnPolicy(Policy):
    """The default, by another name: nothing is overridden."""


class StrictPolicy(Policy):
    def viewable(self, who: Any) -> Any:
        return access.NOTHING


class OtherBackend(ModelBackend):
    def get_user(self, user_id: Any) -> Any:
        return super().get_user(user_id)


@pytest.mark.parametrize(("name", "is_proven"), [("OwnPolicy", True), ("StrictPolicy", False)])
def test_only_the_default_policy(name: str, is_proven: bool, user: User, process: Process, settings: Any) -> None:
    basis = basis_of(user, process)
    settings.DJANGO_PROGRESS = {"ACCESS_POLICY": f"{__name__}.{name}"}
    assert proven(basis) == [is_proven]


def test_only_djangos_way_to_find_users(user: User, process: Process, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OtherBackend"]
    basis = basis_of(user, process)
    assert proven(basis) == [False]
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    basis = basis_of(user, process)
    assert proven(basis) == [True]
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.OtherBackend"]
    assert proven(basis) == [False]


@pytest.mark.parametrize("kind", ["cache", "signed_cookies"])
def test_only_sessions_in_the_database(kind: str, settings: Any) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{kind}"
    user = User.objects.create_user("ada")
    assert proven(basis_of(user, Process.objects.start("Import", owner=user))) == [False]


def test_only_the_user_that_django_has_found(user: User, process: Process) -> None:
    request = asked(cookies_of(user), process)
    request.user = User.objects.get()
    assert proven(Basis(request, [process.pk])) == [False]
    request = asked(cookies_of(user), process)
    request.user = request.__dict__["_cached_user"] = User.objects.create_user("eve")
    assert proven(Basis(request, [process.pk])) == [False]


def test_only_owners(user: User, process: Process) -> None:
    eve = User.objects.create_user("eve", is_staff=True)
    sharing.share(process, eve)
    staff = User.objects.create_superuser("root")
    mine = Process.objects.start("Mine", owner=eve)
    request = asked(cookies_of(eve), process)
    assert proven(Basis(request, [mine.pk]), Basis(request, [process.pk]), Basis(request, [mine.pk, process.pk])) == [
        True, False, False,
    ]  # fmt: skip
    assert proven(basis_of(staff, process)) == [False]
    assert proven(Basis(request, [])) == [False]


# Permits


async def has_permit(
    request: HttpRequest, process: Process, checks: list[HttpRequest], use: Callable[..., Any]
) -> None:
    def check(request: HttpRequest) -> bool:
        checks.append(request)
        return visible_to(request).filter(pk=process.pk).exists()

    async with asyncio.timeout(30):
        async with Permit(Hub.here(), request, check, granted=True, pks=[process.pk], wake=lambda: None) as permit:
            await use(permit)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[HttpRequest]:
    """Those that were asked in full, in a time in which answers get old soon."""
    monkeypatch.setattr(permits, "AGE", AGE)
    return []


async def delivers(permit: Permit[bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert await permit.value() is True
        await asyncio.sleep(0.01)


async def is_refused(permit: Permit[bool], by: float) -> None:
    """Deliver until that is refused, which it has to be by then."""
    begun = time.monotonic()
    while await permit.value():
        assert begun < by
        await asyncio.sleep(0.01)
        begun = time.monotonic()


def test_nothing_is_asked_in_full_while_nothing_changes(
    user: User, process: Process, checks: list[HttpRequest]
) -> None:
    request = asked(cookies_of(user), process)
    asyncio.run(has_permit(request, process, checks, lambda permit: delivers(permit, 3 * AGE)))
    assert checks == []


def test_after_a_difference_that_changes_nothing_the_proof_begins_anew(
    user: User, process: Process, checks: list[HttpRequest]
) -> None:
    request = asked(cookies_of(user), process)
    User.objects.update(last_login=timezone.now())
    asyncio.run(has_permit(request, process, checks, lambda permit: delivers(permit, 4 * AGE)))
    assert len(checks) == 1


@pytest.mark.parametrize("lose", LOSSES)
def test_whoever_may_not_see_it_is_refused_in_time(
    lose: Callable[..., object], user: User, process: Process, checks: list[HttpRequest]
) -> None:
    request = asked(cookies_of(user), process)

    async def use(permit: Permit[bool]) -> None:
        await delivers(permit, 1.5 * AGE)
        await asyncio.to_thread(in_thread, partial(lose, user, process))
        lost_at = time.monotonic()
        await is_refused(permit, lost_at + AGE)

    asyncio.run(has_permit(request, process, checks, use))
    assert len(checks) == 1


@pytest.mark.parametrize("loses", [False, True])
def test_whoever_it_is_shared_with_is_asked_in_full(
    loses: bool, user: User, process: Process, checks: list[HttpRequest]
) -> None:
    eve = User.objects.create_user("eve")
    sharing.share(process, eve)
    request = asked(cookies_of(eve), process)

    async def use(permit: Permit[bool]) -> None:
        await delivers(permit, 2 * AGE)
        assert checks
        if loses:
            await asyncio.to_thread(in_thread, partial(sharing.unshare, process, eve))
            lost_at = time.monotonic()
            await is_refused(permit, lost_at + AGE)

    asyncio.run(has_permit(request, process, checks, use))


def test_a_wake_up_is_asked_about_in_full_and_at_once(
    user: User, process: Process, checks: list[HttpRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "AGE", 600.0)
    request = asked(cookies_of(user), process)

    async def use(permit: Permit[bool]) -> None:
        doubts = [permit.is_doubted]
        Hub.here().heard(f"access {process.pk}")
        doubts.append(permit.is_doubted)
        assert await permit.value() is True
        assert [*doubts, permit.is_doubted] == [False, True, False]
        assert len(checks) == 1
        await asyncio.to_thread(in_thread, partial(give_away, user, process))
        assert await permit.value() is True
        Hub.here().heard(f"access {process.pk}")
        assert await permit.value() is False
        Hub.here().heard(session_word(request.session.session_key or ""))
        assert await permit.value() is None

    asyncio.run(has_permit(request, process, checks, use))


def test_where_words_may_have_been_missed_it_is_asked_at_once(
    user: User, process: Process, checks: list[HttpRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "AGE", 600.0)
    request = asked(cookies_of(user), process)

    async def use(permit: Permit[bool]) -> None:
        Hub.here().lost()
        assert permit.is_doubted
        assert await permit.value() is True
        # Not in full, as nothing has changed.
        assert (permit.is_doubted, checks) == (False, [])
        await asyncio.to_thread(in_thread, partial(give_away, user, process))
        assert await permit.value() is True
        Hub.here().lost()
        assert await permit.value() is False

    asyncio.run(has_permit(request, process, checks, use))


def test_a_word_during_a_batch_is_not_overheard(
    user: User, process: Process, checks: list[HttpRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(cookies_of(user), process)
    real = renewals.unchanged

    async def use(permit: Permit[bool]) -> None:
        loop, hub = asyncio.get_running_loop(), Hub.here()

        def late(bases: Any) -> Any:
            found = real(bases)
            assert found[1] == [True]
            give_away(user, process)
            loop.call_soon_threadsafe(hub.heard, f"access {process.pk}")
            return found

        monkeypatch.setattr(renewals, "unchanged", late)
        await asyncio.sleep(AGE)
        assert permit.is_stale
        assert await permit.value() is False

    asyncio.run(has_permit(request, process, checks, use))


def test_many_that_are_due_are_asked_about_together(
    user: User, process: Process, checks: list[HttpRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(cookies_of(user), process)
    batches: list[int] = []
    real = renewals.unchanged

    def counted(bases: Any) -> Any:
        batches.append(len(bases))
        return real(bases)

    monkeypatch.setattr(renewals, "unchanged", counted)

    async def use(permit: Permit[bool]) -> None:
        await asyncio.sleep(AGE)
        assert await permit.value()

    async def all_of_them() -> None:
        await asyncio.gather(*(has_permit(request, process, checks, use) for _number in range(700)))

    asyncio.run(all_of_them())
    assert checks == []
    assert sum(batches) == 700
    assert len(batches) <= 4
    assert max(batches) <= renewals.MOST


def in_thread(function: Callable[[], object]) -> None:
    """Do it with a connection that is gone afterwards."""
    try:
        function()
    finally:
        connection.close()
