"""Streams as a server sends them: what their answers say, how long they last, and who gets none."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client
from httpx_sse import EventSource

from django_progress import sharing, urls
from django_progress.models import Process
from tests import services
from tests.push.serving import objects, serve, url
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def process(user: User) -> Process:
    return Process.objects.start("Import", owner=user)


def test_what_an_answer_says(user: User, process: Process) -> None:
    with serve() as site, site.client(user, headers={"Accept-Encoding": "gzip"}) as client:
        for method in ("GET", "HEAD"):
            with client.stream(method, url("stream", process)) as response:
                assert response.status_code == 200
                assert response.headers["Content-Type"].startswith("text/event-stream")
                assert response.headers["Content-Encoding"] == "identity"
                assert response.headers["X-Accel-Buffering"] == "no"
                assert response.headers["Cache-Control"] == "private, no-store, no-transform"
                assert "Cookie" in response.headers["Vary"]
                if method == "GET":
                    first = next(response.iter_raw())
                    assert first.startswith(b"retry: ")
                    assert 1_000 <= int(first.split()[1]) <= 3_000
        response = client.post(url("stream", process))
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.redis
def test_a_wake_up_brings_what_is_committed(user: User, process: Process, settings: Any) -> None:
    chosen = {"WAKE_UPS": services.REDIS_URL}
    settings.DJANGO_PROGRESS = chosen
    # Where it is looked at only every five seconds otherwise.
    with serve(**chosen) as site, site.client(user) as client, site.stream(client, process) as events:
        assert [next(events).id, next(events).id] == ["", "1"]
        time.sleep(0.2)  # It may be about to look.
        took = []
        for number in range(20):
            began = time.monotonic()
            process.milestone(f"m{number}")
            assert next(events).json()["name"] == f"m{number}"
            took.append(time.monotonic() - began)
    assert sorted(took)[10] < 1


def test_silence_is_broken_and_a_stream_grows_old(user: User, process: Process) -> None:
    with serve(STREAM_KEEP_ALIVE=0.1, STREAM_LIFETIME=1.0) as site, site.client(user) as client:
        began = time.monotonic()
        with client.stream("GET", url("stream", process)) as response:
            said = b"".join(response.iter_raw())
        assert 0.7 < time.monotonic() - began < 5
        assert said.count(b"id: 1\n") == 1
        assert said.count(b"\n: \n") + said.count(b"\n\n: \n") >= 3


def test_there_are_not_too_many(user: User, process: Process) -> None:
    with serve(MAX_STREAMS=2) as site, site.client(user) as client:
        with site.stream(client, process), site.stream(client, process):
            response = client.get(url("stream", process))
            assert response.status_code == 503
            assert response.json()["code"] == "too_many_streams"
            assert 10 <= int(response.headers["Retry-After"]) <= 30
            assert client.get(url("status", process)).status_code == 200

        def is_open() -> bool:
            with client.stream("GET", url("stream", process)) as response:
                return response.status_code == 200

        wait_until(is_open, what="a place for a stream")


def test_an_open_stream_keeps_no_thread(user: User, process: Process) -> None:
    with serve(WATCH_INTERVAL=0.05) as site, ExitStack() as stack:
        client = stack.enter_context(site.client(user, limits=httpx.Limits(max_connections=None)))
        page = f"/progress/stream/?poll=/progress/{process.key}/fragments/wait/"
        streams, pages = [], []
        for _number in range(15):
            streams.append(stack.enter_context(site.stream(client, process)))
            assert [next(streams[-1]).retry is None, next(streams[-1]).id] == [False, "1"]
            pages.append(EventSource(stack.enter_context(client.stream("GET", page))).iter_sse())
            assert [next(pages[-1]).retry is None, next(pages[-1]).event] == [False, "hello"]
        # Left are the server's own, which has some with uvloop, and the hub's two.
        wait_until(lambda: site.threads < len(streams), timeout=5, what="the end of the threads of open streams")
        process.milestone("all")
        assert [next(events).id for events in streams] == ["2"] * len(streams)


def test_none_is_sent_where_they_are_not_wanted(user: User, process: Process) -> None:
    with serve(STREAMS="never") as site, site.client(user) as client:
        response = client.get(url("stream", process))
        assert response.status_code == 406
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["code"] == "no_streams"


@pytest.mark.parametrize("streams", ["auto", "always", "never"])
def test_none_is_sent_by_wsgi(streams: str, user: User, process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"STREAMS": streams}
    client = Client()
    client.force_login(user)
    for end in (process.succeed, Process.objects.count):
        response = client.get(url("stream", process))
        assert response.status_code == 406
        assert url("status", process) in response.json()["detail"]
        assert url("events", process) in response.json()["detail"]
        end()
    assert Client().get(url("stream", process)).status_code == 404


def test_the_live_region(user: User, process: Process) -> None:
    process.set_progress(1, 4)
    with serve(WATCH_INTERVAL=0.05, STREAM_KEEP_ALIVE=0.2) as site, site.client(user) as client:
        assert client.get(url("stream", process, "?format=html&as=x")).json()["code"] == "invalid_as"
        with site.stream(client, process, "?format=html&as=status") as events:
            read = [next(events), next(events)]
            assert read[0].retry
            assert 'id="dp-status-' in read[1].data
            process.milestone("halfway", "Half of it")
            read.append(next(event for event in events if "Half of it" in event.data))
            process.succeed()
            read += [event for event in events if event.data]
        assert [int(event.id) for event in read[1:]] == sorted(int(event.id) for event in read[1:])
        assert int(read[-1].id) == Process.objects.get().last_seq
        assert client.get(url("stream", process, f"?format=html&after={read[-1].id}")).status_code == 204


def test_words_are_in_the_readers_language(user: User, process: Process) -> None:
    process.succeed()
    with serve() as site:
        told = {}
        for language in ("en", "de"):
            with site.client(user, headers={"Accept-Language": language}) as client:
                with site.stream(client, process) as events:
                    told[language] = objects(list(events))
                assert told[language] == client.get(url("events", process)).json()["events"]


def test_the_address_is_a_promise() -> None:
    assert any(pattern.name == "process-stream" for pattern in urls.urlpatterns)


def test_the_retry_of_another_process_is_told_to_nobody(user: User, process: Process) -> None:
    ben = User.objects.create_user("ben")
    sharing.share(process, ben)
    process.cancel()
    again = Process.objects.start("Again", owner=user)
    Process.objects.filter(pk=again.pk).update(retry_of=process)
    with serve() as site:
        for reader in (ben, user):
            with site.client(reader) as client:
                for mode in ("status", "wait", "bar", "processing"):
                    with site.stream(client, process, f"?format=html&as={mode}") as events:
                        shown = "".join(event.data for event in events)
                    assert str(process.key) in shown
                    assert str(again.key) not in shown
