"""Callers who start and report inside transactions of their own, which are rolled back or end badly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from django_progress.clock import DatabaseNow
from django_progress.models import Event, Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests.executing import execute, fresh, start, types
from tests.faults.tasks import work
from tests.faults.watching import messages
from tests.workers import Broker, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 60
AT_ONCE = 10.0
"""Seconds that are not waiting for anybody, however busy the machine is; the caller holds on for longer."""


class Oops(Exception):
    """What goes wrong in the caller's code."""


@contextmanager
def rolled_back() -> Iterator[None]:
    with suppress(Oops), transaction.atomic():
        yield
        raise Oops


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


def start_and_report() -> Process:
    process = work.start(None, "journal")
    process.advance()
    process.set_message("Stage", "begun")
    process.log("a line")
    process.milestone("one")
    return process


def test_fault_20_a_caller_that_rolls_back_leaves_nothing(broker: Broker) -> None:
    with rolled_back():
        start_and_report()
    assert not Process.objects.exists()
    assert not Event.objects.exists()
    assert messages(broker) == 0


def test_fault_20_an_inner_savepoint_that_is_rolled_back_leaves_nothing_of_its_own(broker: Broker) -> None:
    with transaction.atomic():
        kept = start_and_report()
        with rolled_back():
            start_and_report()
        assert messages(broker) == 0
    assert Process.objects.get() == kept
    assert messages(broker) == 1


def test_fault_20_a_caller_takes_its_savepoints_along(broker: Broker) -> None:
    with rolled_back(), transaction.atomic():
        start_and_report()
    assert not Process.objects.exists()
    assert messages(broker) == 0


def test_fault_20_a_body_that_rolls_back_what_it_started(broker: Broker) -> None:
    """Its own hints may have been seen already, and stay; what was started is not left behind by them."""

    def body(process: Process) -> None:
        with rolled_back():
            start_and_report()
            process.log("seen")
            process.milestone("undone")

    first = start()
    execute(first, body)
    assert Process.objects.get() == first
    assert "undone" not in set(first.milestones.values_list("name", flat=True))
    assert messages(broker) == 1  # the first one's own


def test_fault_20_a_retry_that_is_rolled_back_can_be_made_again(broker: Broker) -> None:
    process = work.start(None, "journal")
    process.cancel()
    with rolled_back():
        process.retry()
    assert messages(broker) == 1
    again = process.retry()
    assert (again.retry_of, messages(broker)) == (process, 2)


@pytest.mark.parametrize(
    "end", [lambda p: p.succeed(1), lambda p: p.fail("x"), lambda p: p.cancel(), lambda p: p.expire()]
)
def test_fault_20_an_end_that_is_rolled_back_is_none(end: Callable[[Process], Any]) -> None:
    process = Process.objects.start("x")
    with rolled_back():
        end(fresh(process))
    assert (fresh(process).status, types(process)) == (Status.RUNNING, ["milestone"])
    fresh(process).succeed()


# Fault 21: what a project's views do


def view_that_raises(request: HttpRequest) -> HttpResponse:
    start_and_report()
    raise Oops


def view_that_answers(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(start_and_report().key))


urlpatterns = [
    path("raises/", view_that_raises),
    path("answers/", view_that_answers),
    path("", include("tests.urls")),
]


@pytest.fixture
def atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("atomic_requests")
def test_fault_21_a_request_that_fails_takes_its_start_along(broker: Broker) -> None:
    client = Client(raise_request_exception=False)
    assert client.get("/raises/").status_code == 500
    assert not Process.objects.exists()
    assert messages(broker) == 0
    assert client.get("/answers/").status_code == 200
    assert Process.objects.get().milestone_name == "one"
    assert messages(broker) == 1


@pytest.mark.usefixtures("atomic_requests")
def test_fault_21_our_own_views_work_in_a_transaction_too(user: User) -> None:
    client = Client()
    client.force_login(user)
    process = Process.objects.start("x", owner=user, max_duration=60)
    Process.objects.update(expires_at=DatabaseNow(-1))
    assert client.get(f"/progress/{process.key}/status/").json()["status"] == "expired"
    assert types(process)[-1] == "expired"


# Fault 22: somebody else's hook


def raises() -> None:
    raise Oops


@pytest.mark.parametrize("robust", [False, True])
def test_fault_22_a_hook_before_ours_raises(robust: bool, broker: Broker, settings: Any) -> None:
    """Django calls no other hook then. The row is there, and it is the queue."""
    settings.DJANGO_PROGRESS = {"REPUBLISH_AFTER": 0.5}
    with suppress(Oops), transaction.atomic():
        transaction.on_commit(raises, robust=robust)
        process = work.start(None, "journal")
    assert fresh(process).status == Status.PENDING
    assert messages(broker) == int(robust)
    # In time the sweep finds that nobody has taken it, whether or not a message was sent.
    wait_until(lambda: sweep() == {"published": 1})
    assert messages(broker) == 1 + int(robust)


def test_fault_22_ours_raises_and_the_others_are_called(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_progress.starting.publish", lambda process: raises())
    called: list[int] = []
    with transaction.atomic():
        work.start(None, "journal")
        transaction.on_commit(lambda: called.append(1))
    assert called == [1]
    monkeypatch.undo()
    Process.objects.update(due_at=DatabaseNow())
    assert sweep() == {"published": 1}
