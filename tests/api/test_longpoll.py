"""Answers that wait for an event: under ASGI, for as long as they are asked to, and holding nothing meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import AsyncRequestFactory

from django_progress import sharing
from django_progress.models import Process
from django_progress.views.api import Asked
from django_progress.views.longpoll import wait_for_event
from tests.push.serving import Site, serve, url
from tests.workers import wait_until

WAITS = "An answer waits."
SITE = "tests.api.telling:application"
Ask = Callable[..., "Future[Any]"]


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def process(ann: User) -> Process:
    return Process.objects.start("Work", owner=ann)


@pytest.fixture(scope="module")
def site(django_db_setup: None) -> Iterator[Site]:
    with serve(SITE, WATCH_INTERVAL=0.1) as site:
        yield site


@pytest.fixture
def begun(site: Site) -> Callable[[], int]:
    """Return what tells how many answers of this test have begun to wait."""
    before = waits(site)
    return lambda: waits(site) - before


@pytest.fixture
def ask(site: Site, ann: User, process: Process) -> Iterator[Ask]:
    """Ask for the events on the side; what is returned has the answer and how many seconds it took."""
    with ThreadPoolExecutor(20) as pool:

        def ask(query: str, client: httpx.Client | None = None) -> Future[Any]:
            client = client or site.client(ann)

            def get() -> Any:
                with client:
                    begun = time.monotonic()
                    response = client.get(url("events", process, query))
                    return response, time.monotonic() - begun

            return pool.submit(get)

        yield ask


def waits(site: Site) -> int:
    return site.said.count(WAITS)


def test_it_is_answered_by_the_event(ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = ask("?after=1&wait=20")
    wait_until(begun)
    assert not asked.done()
    process.milestone("read", "Reading")
    response, took = asked.result(15)
    assert [event["name"] for event in response.json()["events"]] == ["read"]
    assert response.json()["done"] is False
    assert took < 15


def test_it_is_answered_by_the_end(ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = ask("?after=1&wait=20")
    wait_until(begun)
    process.succeed()
    response, took = asked.result(15)
    assert [event["type"] for event in response.json()["events"]] == ["succeeded"]
    assert response.json()["done"] is True
    assert took < 15


def test_what_is_there_already_or_has_ended_is_told_at_once(ask: Ask, process: Process) -> None:
    assert ask("?wait=20").result(15)[0].json()["last_seq"] == 1
    assert ask("?after=7&wait=20").result(15)[0].json()["reset"] == {"after": 0, "reason": "unknown"}
    process.succeed()
    assert ask("?after=2&wait=20").result(15)[0].json()["events"] == []


def test_it_waits_no_longer_than_it_is_asked_to(ask: Ask) -> None:
    response, took = ask("?after=1&wait=1").result(15)
    assert (response.status_code, response.json()["events"]) == (200, [])
    assert took >= 1


def test_it_waits_no_longer_than_the_setting_allows(transactional_db: None, ann: User, process: Process) -> None:
    with serve(SITE, LONG_POLL=0.5) as site, site.client(ann) as client:
        begun = time.monotonic()
        assert client.get(url("events", process, "?after=1&wait=1000000")).json()["events"] == []
        assert 0.5 <= time.monotonic() - begun < 15


def test_an_expiry_ends_the_wait(ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = ask("?after=1&wait=20")
    wait_until(begun)
    Process.objects.filter(pk=process.pk).update(expires_at=process.created_at, max_duration=1.0)
    response, took = asked.result(15)
    assert [event["type"] for event in response.json()["events"]] == ["expired"]
    assert took < 15


def test_no_connection_is_held_meanwhile(site: Site, ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = [ask("?after=1&wait=30") for _ in range(12)]
    wait_until(lambda: begun() == 12)
    # SQLite keeps the files of connections that were closed open for as long as others have locks.
    wait_until(lambda: connection.vendor == "sqlite" or site.connections <= 2)
    assert not any(one.done() for one in asked)
    process.log("line")
    assert {len(one.result(15)[0].json()["events"]) for one in asked} == {1}


def test_who_logs_out_meanwhile_is_told_nothing(ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = ask("?after=1&wait=20")
    wait_until(begun)
    assert not asked.done()
    Session.objects.all().delete()
    process.log("secret")
    response, _ = asked.result(15)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_who_may_no_longer_see_it_is_told_nothing(ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = ask("?after=1&wait=20")
    wait_until(begun)
    assert not asked.done()
    Process.objects.filter(pk=process.pk).update(owner=User.objects.create_user("ben"))
    process.log("secret")
    assert asked.result(15)[0].status_code == 404


def test_who_is_known_by_a_token_is_told(site: Site, ask: Ask, process: Process, begun: Callable[[], int]) -> None:
    asked = ask("?after=1&wait=20", site.client(headers={"X-Token": "ann"}))
    wait_until(begun)
    process.log("line")
    response, _ = asked.result(15)
    assert (response.status_code, len(response.json()["events"])) == (200, 1)


def test_a_session_of_somebody_else_that_is_left_over_takes_nothing_from_a_token(
    site: Site, ask: Ask, process: Process, begun: Callable[[], int]
) -> None:
    ben = User.objects.create_user("ben")
    asked = ask("?after=1&wait=20", site.client(ben, headers={"X-Token": "ann"}))
    wait_until(begun)
    process.log("line")
    assert asked.result(15)[0].status_code == 200


def test_a_token_of_somebody_else_is_given_nothing_by_a_session(
    site: Site, ask: Ask, ann: User, process: Process, begun: Callable[[], int]
) -> None:
    ben = User.objects.create_user("ben")
    sharing.share(process, ben, by=ann)
    asked = ask("?after=1&wait=20", site.client(ann, headers={"X-Token": "ben"}))
    wait_until(begun)
    sharing.unshare(process, ben, by=ann)
    process.log("secret")
    assert asked.result(15)[0].status_code == 404


def test_where_too_many_wait_it_is_answered_at_once(ann: User, process: Process) -> None:
    with serve(SITE, MAX_STREAMS=2) as site, ThreadPoolExecutor(2) as pool:

        def ask(seconds: int) -> Any:
            with site.client(ann) as client:
                return client.get(url("events", process, f"?after=1&wait={seconds}"), timeout=40)

        waiting = [pool.submit(ask, 30) for _ in range(2)]
        wait_until(lambda: waits(site) == 2)
        response = ask(30)
        assert (response.status_code, response.json()["events"]) == (200, [])
        assert waits(site) == 2
        assert not any(one.done() for one in waiting)
        process.log("line")
        assert {len(one.result(15).json()["events"]) for one in waiting} == {1}
        # Their places are free again.
        site.client(ann).get(url("events", process, "?after=2&wait=1"))
        assert waits(site) == 3


def test_it_waits_where_every_request_is_a_transaction(ann: User, process: Process) -> None:
    with serve("tests.api.atomic:application") as site, site.client(ann) as client:
        client.get(url("events", process, "?after=1&wait=1"))
        assert waits(site) == 1


def test_a_server_that_stops_answers(transactional_db: None, ann: User, process: Process) -> None:
    with serve(SITE) as site, site.client(ann) as client, ThreadPoolExecutor(1) as pool:
        # From now on the server tells those who wait when it is stopped.
        client.get(url("events", process, "?after=1&wait=1"))
        asked = pool.submit(client.get, url("events", process, "?after=1&wait=30"))
        wait_until(lambda: waits(site) == 2)
        assert site.process is not None
        site.process.send_signal(signal.SIGTERM)
        assert asked.result(15).json()["events"] == []
        site.process.wait(15)


@pytest.mark.django_db
def test_within_a_transaction_nobody_waits() -> None:
    request = AsyncRequestFactory().get("/")
    process = Process.objects.start("Work")
    assert wait_for_event(request, process, Asked(1, 10, 20)) is False
