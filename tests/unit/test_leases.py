"""The heartbeat."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import leases
from django_progress.models import Attempt
from tests.executing import claim, fresh, last_attempt, run_out, start
from tests.races.threads import elsewhere
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[leases.Heart]:
    heart = leases.Heart()
    monkeypatch.setattr(leases, "_heart", heart)
    yield heart
    wait_until(lambda: heart._thread is None, what="the heart to stop")


def is_held(token: str) -> bool:
    return bool(Attempt.objects.filter(token=token, lease_until__gt=timezone.now()).exists())


def test_renewing_takes_as_many_queries_as_there_are_lengths_and_each_gets_its_own() -> None:
    first, second, other = (claim(start(lease=seconds)) for seconds in (30, 30, 90))
    run_out()
    held = {executing.token: leases.Held(executing.lease, 10, "default") for executing in (first, second, other)}
    with CaptureQueriesContext(connection) as queries:
        leases.renew(held)
    # One statement each: a worker that is frozen between two would keep what it has locked.
    assert len(queries) == 2
    for executing in (first, second, other):
        until = Attempt.objects.get(token=executing.token).lease_until
        assert executing.lease - 5 < (until - timezone.now()).total_seconds() <= executing.lease


def test_beats_come_four_to_a_lease_and_no_rarer_than_the_setting(settings: Any) -> None:
    def terms(**options: Any) -> tuple[float, float]:
        executing = claim(start(**options))
        return executing.lease, executing.beat

    assert terms() == (60, 10)
    assert terms(lease=8) == (8, 2)
    settings.DJANGO_PROGRESS = {
        "HEARTBEAT": 1,
        "KINDS": {"video": {"LEASE": 300, "HEARTBEAT": 30}, "mail": {"LEASE": 2}},
    }
    assert terms() == (60, 1)
    assert terms(kind="video") == (300, 30)
    assert terms(kind="video", lease=400) == (400, 30)
    assert terms(kind="mail") == (2, 0.5)


def test_a_beat_leaves_out_what_somebody_holds(heart: leases.Heart, settings: Any) -> None:
    """One transaction that ends a process slowly must not let the leases of all others run out."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database locks no rows.")
    settings.DJANGO_PROGRESS = {"HEARTBEAT": 0.05}
    stuck, other = claim(start()), claim(start())
    run_out()
    with leases.held(stuck, "default"), leases.held(other, "default"), transaction.atomic():
        Attempt.objects.select_for_update().get(token=stuck.token)
        run_out_again = Attempt.objects.filter(token=other.token)
        for _ in range(2):
            wait_until(lambda: elsewhere(lambda: is_held(other.token)), what="a beat of the other one")
            elsewhere(lambda: run_out_again.update(lease_until=timezone.now() - timedelta(hours=1)))
        assert not is_held(stuck.token)
    with leases.held(stuck, "default"):
        wait_until(lambda: is_held(stuck.token))


def test_what_somebody_held_is_renewed_as_soon_as_it_is_free(heart: leases.Heart) -> None:
    """Before a sweep that has just found it, which looks twice; the next beat would be a quarter of an hour away."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database locks no rows.")
    stuck, gone = (claim(start(lease=3600)) for _ in range(2))
    beat = stuck.beat = gone.beat = 900
    with leases.held(stuck, "default"), leases.held(gone, "default"):
        with transaction.atomic():
            Attempt.objects.select_for_update().get(token=stuck.token)
            elsewhere(lambda: Attempt.objects.filter(token=gone.token).delete())
            for token in heart._due:
                heart._due[token] = 0
            heart._changed.set()
            wait_until(lambda: heart._due[gone.token] > time.monotonic() + beat / 2, what="the beat that leaves it out")
            Attempt.objects.filter(token=stuck.token).update(lease_until=timezone.now() - timedelta(hours=1))
        wait_until(lambda: is_held(stuck.token), timeout=10, what="the next try")
        # Nobody tries again for what is there no more.
        assert heart._due[gone.token] > time.monotonic() + beat / 2


def test_a_beat_takes_a_doubt_away(heart: leases.Heart) -> None:
    executing = claim(start())
    run_out()
    leases.renew({executing.token: leases.Held(60, 10, "default")})
    assert last_attempt(executing.process).doubted_at is None


def test_a_held_lease_is_renewed_until_the_end(heart: leases.Heart, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"HEARTBEAT": 0.01}
    executing = claim(start())
    with leases.held(executing, "default"):
        for _ in range(3):
            run_out()
            wait_until(lambda: is_held(executing.token))
    wait_until(lambda: heart._thread is None)
    run_out()
    assert not is_held(executing.token)


def test_it_renews_what_it_was_given_and_nothing_else(heart: leases.Heart, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"HEARTBEAT": 0.01}
    mine, other = claim(start()), claim(start())
    run_out()
    with leases.held(mine, "default"):
        wait_until(lambda: is_held(mine.token))
        assert not is_held(other.token)


def test_one_thread_serves_many_and_ends_with_the_last(heart: leases.Heart) -> None:
    executions = [claim(start()) for _ in range(3)]
    with leases.held(executions[0], "default"):
        with leases.held(executions[1], "default"), leases.held(executions[2], "default"):
            names = [thread.name for thread in threading.enumerate()]
            assert names.count("django_progress heartbeat") == 1
        assert heart._thread is not None


def test_it_does_not_spin_between_beats(heart: leases.Heart, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[Any] = []
    monkeypatch.setattr(leases, "renew", lambda held: beats.append(held) or set())
    woken = 0
    wait = heart._changed.wait

    def counted(timeout: float | None = None) -> bool:
        nonlocal woken
        woken += 1
        return wait(timeout)

    monkeypatch.setattr(heart._changed, "wait", counted)
    executing = claim(start())
    for _ in range(50):  # one ends as the next begins
        with leases.held(executing, "default"):
            pass
    with leases.held(executing, "default"):
        wait_until(lambda: not heart._changed.is_set())
        assert woken <= 102
        assert beats == []


def test_a_beat_that_fails_is_followed_by_others(
    heart: leases.Heart, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_PROGRESS = {"HEARTBEAT": 0.01}
    executing = claim(start())
    run_out()
    renew, errors = leases.renew, [DatabaseError("gone away"), RuntimeError("something else")]

    def failing(held: dict[str, leases.Held]) -> set[str]:
        if errors:
            raise errors.pop()
        return renew(held)

    monkeypatch.setattr(leases, "renew", failing)
    with leases.held(executing, "default"):
        wait_until(lambda: is_held(executing.token))
    assert "gone away" in caplog.text
    assert "something else" in caplog.text


def test_a_request_to_cancel_survives_a_beat() -> None:
    """Fault 27: the two write different columns of the attempt."""
    process = start()
    executing = claim(process)
    fresh(process).cancel()
    leases.renew({executing.token: leases.Held(60, 10, "default")})
    assert last_attempt(process).cancel_requested_at is not None


def test_the_heart_of_a_forked_child_beats_and_for_its_own_only(heart: leases.Heart, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"HEARTBEAT": 0.01}
    parents, own = claim(start()), claim(start())
    run_out()
    # What fork() leaves in a child whose parent was executing: a thread that isn't there.
    heart._pid = os.getpid() + 1
    heart._thread = threading.Thread(name="of the parent")
    heart._held[parents.token] = leases.Held(parents.lease, parents.beat, "default")
    heart._due[parents.token] = 0
    with leases.held(own, "default"):
        wait_until(lambda: is_held(own.token), timeout=5, what="a beat")
        assert not is_held(parents.token)
