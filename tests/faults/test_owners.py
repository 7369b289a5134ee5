"""Fault 42: the account of whoever started it, or asked for its end, is deleted meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client

from django_progress.clock import DatabaseNow
from django_progress.models import Attempt, Event, Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests.executing import claim, fresh, inside, settle, start
from tests.races.threads import all_together, tried
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


def delete(user: User) -> None:
    """As in the admin; once more if somebody refers to it from now on, or the database gave it up."""

    def gone() -> bool:
        with suppress(IntegrityError, OperationalError):
            User.objects.filter(pk=user.pk).delete()
        return not User.objects.filter(pk=user.pk).exists()

    wait_until(gone)


def test_fault_42_the_owner_is_deleted_while_it_runs(user: User) -> None:
    process = start(owner=user, max_attempts=2)
    waiting = start(owner=user)
    executing = claim(process)
    with inside(executing) as mine:
        mine.milestone("one")
        all_together(partial(delete, user))
        mine.milestone("two")
        mine.set_message("Stage", "nearly")
    settle(executing, lambda p: "done")
    row = fresh(process)
    assert (row.status, row.result, row.owner) == (Status.SUCCEEDED, "done", None)
    settle(claim(waiting), lambda p: 1 / 0)
    assert fresh(waiting).status == Status.FAILED
    again = fresh(waiting).retry()
    assert again.owner is None


def test_fault_42_nobody_inherits_what_is_left(user: User, client: Client) -> None:
    process = start(owner=user)
    client.force_login(User.objects.create_user("bob"))
    delete(user)
    for path in ("", "wait/", "status/", "events/", "fragments/status/"):
        assert client.get(f"/progress/{process.key}/{path}").status_code == 404
    assert client.post(f"/progress/{process.key}/cancel/").status_code == 404
    assert str(process.key) not in client.get("/progress/").text


def test_fault_42_whoever_asked_for_the_cancel_is_deleted_before_it_is_carried_out(user: User) -> None:
    process = start(owner=user)
    executing = claim(process)
    assert fresh(process).cancel(by=user) is False
    delete(user)
    settle(executing, lambda p: p.checkpoint())
    row = fresh(process)
    assert (row.status, row.ended_by) == (Status.CANCELLED, None)


def run_out() -> None:
    """Let leases end: what could not be written for who is gone is written by the sweep, which knows."""
    Attempt.objects.update(lease_until=DatabaseNow(-60), doubted_at=DatabaseNow(-60))
    sweep()


def deleted_before(table: str, user: User) -> Callable[..., Any]:
    """Delete the user, on another connection, just before the next UPDATE of a table."""
    deleted = threading.Event()

    def execute(run: Callable[..., Any], sql: str, *args: Any) -> Any:
        if f"UPDATE {connection.ops.quote_name(table)}" in sql and not deleted.is_set():
            deleted.set()
            all_together(partial(delete, user))
        return run(sql, *args)

    return execute


@pytest.mark.skipif(settings.DATABASE == "sqlite", reason="Here the end has begun its transaction already.")
def test_fault_42_whoever_asked_for_the_cancel_is_deleted_as_it_is_carried_out(user: User) -> None:
    process = start()
    executing = claim(process)
    assert fresh(process).cancel(by=user) is False
    with connection.execute_wrapper(deleted_before(Process._meta.db_table, user)), suppress(IntegrityError):
        settle(executing, lambda p: p.checkpoint())
    run_out()
    row = fresh(process)
    assert (row.status, row.ended_by) == (Status.CANCELLED, None)


def test_fault_42_whoever_cancels_is_deleted_meanwhile(user: User) -> None:
    """Refused as a whole: neither half a request nor half an end is left."""
    running, waiting = start(), start()
    executing = claim(running)
    delete(User.objects.get(pk=user.pk))
    for process in (running, waiting):
        with pytest.raises(IntegrityError):
            fresh(process).cancel(by=user)
    settle(executing, lambda p: p.checkpoint())
    assert (fresh(running).status, fresh(waiting).status) == (Status.SUCCEEDED, Status.PENDING)


def test_fault_42_a_start_for_an_owner_who_is_gone_leaves_nothing(user: User) -> None:
    delete(User.objects.get(pk=user.pk))
    with pytest.raises(IntegrityError), transaction.atomic():
        start(owner=user)
    assert not Process.objects.exists()
    assert not Event.objects.exists()


def test_fault_42_deleted_as_everything_happens() -> None:
    for number in range(10):
        user = User.objects.create_user(f"owner-{number}")
        process = start(owner=user, max_attempts=2)
        executing = claim(process)
        viewer = fresh(process)

        def cancel(viewer: Process = viewer, user: User = user) -> None:
            with suppress(IntegrityError):
                tried(partial(viewer.cancel, by=user))

        def work(executing: Any = executing) -> None:
            with suppress(IntegrityError):
                settle(executing, lambda p: p.milestone("one"))

        all_together(work, cancel, partial(delete, user))
        assert fresh(process).owner is None
        run_out()
        assert fresh(process).status in (Status.SUCCEEDED, Status.CANCELLED, Status.PENDING)
        assert not Attempt.objects.executing().filter(process=process).exists()
