"""Visitors without an account: what they started is theirs, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.http import HttpRequest
from django.test import RequestFactory

from django_progress import access, owning, visitors
from django_progress.models import AuditEntry, Process
from tests.executing import fresh

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


def browser(session: Any = None) -> HttpRequest:
    """A request of somebody who has not logged in."""
    request = RequestFactory().post("/")
    request.user = AnonymousUser()
    request.session = SessionStore() if session is None else session
    return request


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="x")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben", password="x")


def log_in(request: HttpRequest, user: User) -> None:
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")


def test_what_a_visitor_starts_only_that_visitor_sees(ann: User) -> None:
    request = browser()
    process = Process.objects.start("Flights", request=request)
    assert process.owner is None
    assert access.may_see(request, process)
    assert access.may_control(request, process)
    assert list(access.visible_to(request)) == [process]
    stranger, account = browser(), browser()
    account.user = ann
    for other in (stranger, account):
        assert not access.may_see(other, process)
        assert not access.may_control(other, process)
        assert list(access.visible_to(other)) == []


def test_the_row_holds_no_token_and_no_session_key() -> None:
    request = browser()
    request.session.save()
    process = Process.objects.start("Flights", request=request)
    stored = "".join(map(str, Process.objects.filter(pk=process.pk).values()[0].values()))
    assert request.session[visitors.SESSION_KEY] not in stored
    assert request.session.session_key not in stored


def test_one_token_for_all_that_a_visitor_starts() -> None:
    request = browser()
    processes = [Process.objects.start("Flights", request=request) for _ in range(2)]
    assert set(access.visible_to(request)) == set(processes)


def test_a_visitor_who_logs_in_becomes_the_owner(ann: User) -> None:
    request = browser()
    process = Process.objects.start("Flights", request=request)
    log_in(request, ann)
    assert fresh(process).owner == ann
    assert fresh(process).visitor == ""
    assert access.may_control(request, fresh(process))
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.via, entry.process_key) == ("claimed", ann, "web", process.key)


def test_who_uses_the_browser_next_sees_nothing_of_it(ann: User, ben: User) -> None:
    request = browser()
    process = Process.objects.start("Flights", request=request)
    log_in(request, ann)
    logout(request)
    request.user = AnonymousUser()
    assert not access.may_see(request, fresh(process))
    log_in(request, ben)
    assert not access.may_see(request, fresh(process))
    assert fresh(process).owner == ann


def test_what_is_started_without_an_account_after_logging_out_is_not_the_former_users(ann: User, ben: User) -> None:
    request = browser()
    log_in(request, ann)
    logout(request)
    request.user = AnonymousUser()
    process = Process.objects.start("Flights", request=request)
    log_in(request, ben)
    assert fresh(process).owner == ben


def test_a_session_with_the_same_key_and_other_data_is_somebody_else() -> None:
    """Fault 78: a key that somebody else has fixed, or seen, opens nothing by itself."""
    request = browser()
    request.session.save()
    process = Process.objects.start("Flights", request=request)
    same_key = browser(SessionStore(request.session.session_key))
    assert access.may_see(browser(request.session), process)
    same_key.session[visitors.SESSION_KEY] = "guessed"
    assert not access.may_see(same_key, process)


@pytest.mark.parametrize("value", ["", None, 7, ["x"]])
def test_a_session_that_holds_something_else_is_no_visitors(value: Any) -> None:
    request = browser()
    request.session[visitors.SESSION_KEY] = value
    assert visitors.known(request) == ""
    assert not access.may_see(request, Process.objects.start("Nobody's"))


def test_without_sessions_it_is_nobodys() -> None:
    request = RequestFactory().post("/")
    process = Process.objects.start("Flights", request=request)
    assert (process.owner_id, process.visitor) == (None, "")
    assert not access.may_see(request, process)


def test_an_account_needs_no_token(ann: User) -> None:
    request = browser()
    request.user = ann
    process = Process.objects.start("Flights", request=request)
    assert (process.owner, process.visitor) == (ann, "")
    assert visitors.SESSION_KEY not in request.session


def test_what_an_owner_has_a_visitor_with_the_token_no_longer_sees(ann: User) -> None:
    request = browser()
    process = Process.objects.start("Flights", request=request)
    Process.objects.filter(pk=process.pk).update(owner=ann)
    assert not access.may_see(request, fresh(process))
    assert list(access.visible_to(request)) == []


def test_a_retry_is_the_visitors_too() -> None:
    from tests.executing import start

    request = browser()
    process = start(request=request)
    process.cancel()
    assert access.may_see(request, fresh(process).retry())


def test_an_idempotency_key_is_the_visitors_own() -> None:
    first, second = browser(), browser()
    one = Process.objects.start("Flights", request=first, idempotency_key="a")
    assert Process.objects.start("Flights", request=first, idempotency_key="a") == one
    assert Process.objects.start("Flights", request=second, idempotency_key="a") != one


def test_who_replays_the_visitors_idempotency_key_gets_nothing_of_the_account(ann: User) -> None:
    request = browser()
    process = Process.objects.start("Flights", request=request, idempotency_key="a")
    copied = browser()
    copied.session[visitors.SESSION_KEY] = request.session[visitors.SESSION_KEY]
    log_in(request, ann)
    again = Process.objects.start("Flights", request=copied, idempotency_key="a")
    assert again != process
    assert fresh(process).owner == ann


def test_an_error_costs_no_login(ann: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> None:
        raise OperationalError(1205, "Lock wait timeout exceeded")

    request = browser()
    Process.objects.start("Flights", request=request)
    monkeypatch.setattr(owning, "_take_over", fail)
    log_in(request, ann)
    assert request.user == ann
    assert "could not be made the own" in caplog.text


def test_a_login_does_not_wait_for_what_somebody_holds(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    request = browser()
    held, free = (Process.objects.start("Flights", request=request) for _ in range(2))
    take, turns = owning._take, []

    def skipping(row: Any, using: str, user_pk: Any) -> bool:
        turns.append(row.get().pk)
        return row.get().pk != held.pk and take(row, using, user_pk)

    monkeypatch.setattr(owning, "_take", skipping)
    log_in(request, ann)
    assert fresh(free).owner == ann
    assert turns == [free.pk, *[held.pk] * owning.TURNS]
