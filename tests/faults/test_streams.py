"""Faults 37, 54, 56 to 61, 63 and 64: what happens to streams, and what their readers do."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from django_progress import sharing
from django_progress.models import Event, Process
from django_progress.retention import prune
from tests import services
from tests.databases import use_database
from tests.private import Postgres
from tests.push.serving import Reader, client_of, objects, serve, url
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

MANY = 100_000


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def process(user: User) -> Process:
    return Process.objects.start("Import", owner=user)


def write(process: Process, count: int, *, size: int = 0) -> None:
    """Write events at once, as if they had been reported: up to number ``count``."""
    details = {"text": "x" * size} if size else {}
    now = timezone.now()
    for start in range(process.last_seq + 1, count + 1, 5_000):
        Event.objects.bulk_create(
            Event(process=process, seq=seq, type="log", message=f"Line {seq}.", details=details, happened_at=now)
            for seq in range(start, min(start + 5_000, count + 1))
        )
    Process.objects.filter(pk=process.pk).update(last_seq=count, revision=count)
    process.refresh_from_db()


def seqs(events: list[Any]) -> list[int]:
    return [int(event.id) for event in events if event.data and event.event == "message"]


def free(client: Any, process: Process) -> bool:
    """Return whether the only stream that is allowed is free again."""
    with client.stream("GET", url("stream", process)) as response:
        assert response.status_code in (200, 503)
        return bool(response.status_code == 200)


# 37


def test_fault_37_purged_during_a_replay(user: User, process: Process) -> None:
    write(process, 4_000, size=4_000)
    with serve() as site, site.client(user) as client, site.stream(client, process) as events:
        read = [next(events) for _ in range(100)]
        Event.objects.filter(process=process, seq__lte=3_500).delete()
        process.milestone("last")
        process.succeed()
        read += events
    resets = [event for event in read if event.event == "reset"]
    assert len(resets) == 1
    told = resets[0].json()
    assert told == {"after": 3_500, "reason": "purged"}
    assert resets[0].id == "3500"
    position = read.index(resets[0])
    before, after = seqs(read[:position]), seqs(read[position:])
    assert before == list(range(1, len(before) + 1))
    assert after == list(range(3_501, 4_003))
    process.delete()


def test_fault_37_a_cursor_older_than_what_was_purged(user: User, process: Process) -> None:
    write(process, 10)
    process.succeed()
    Event.objects.filter(process=process, seq__lte=5).delete()
    with serve() as site, site.client(user) as client:
        for query, resets in (("?after=2", 1), ("", 1), ("?after=5", 0), ("?after=7", 0)):
            with site.stream(client, process, query) as events:
                read = list(events)
            assert [event.json() for event in read if event.event == "reset"] == [
                {"after": 5, "reason": "purged"}
            ] * resets
            assert seqs(read) == list(range(8 if "7" in query else 6, 12))
        Event.objects.filter(process=process).delete()
        with site.stream(client, process, "?after=2") as events:
            assert objects(list(events)) == [{"after": 11, "reason": "purged"}]
    process.delete()


def test_fault_37_purged_ahead_of_a_live_stream(user: User, process: Process) -> None:
    with serve(WATCH_INTERVAL=0.05) as site, site.client(user) as client, site.stream(client, process) as events:
        assert [next(events).id, next(events).id] == ["", "1"]
        with transaction.atomic():
            process.milestone("one")
            process.milestone("two")
            Event.objects.filter(process=process).delete()
        reset = next(events)
        assert (reset.event, reset.json()) == ("reset", {"after": 3, "reason": "purged"})
        process.milestone("three")
        assert next(events).json()["name"] == "three"
        process.succeed()
        assert [event["type"] for event in objects(list(events))] == ["succeeded"]
    process.delete()


def test_fault_37_the_process_is_removed_during_a_stream(user: User, process: Process) -> None:
    with serve(WATCH_INTERVAL=0.05, STREAM_KEEP_ALIVE=0.2) as site, site.client(user) as client:
        with site.stream(client, process) as events:
            assert [next(events).retry is None, next(events).id] == [False, "1"]
            process.succeed()
            assert next(events).id == "2"
            assert list(events) == []
        other = Process.objects.start("Import", owner=user)
        with site.stream(client, other) as events:
            assert [next(events).id, next(events).id] == ["", "1"]
            Process.objects.filter(pk=other.pk).delete()
            assert list(events) == []
        assert client.get(url("stream", other)).status_code == 404
    prune(0)


# 54


@pytest.mark.parametrize("cursor", ["-1", "abc", "1" + "0" * 30, "1.5", " 1", "1\u0660", "", "0x1", str(2**63)])
def test_fault_54_a_cursor_that_is_none(cursor: str, user: User, process: Process) -> None:
    with serve() as site, site.client(user) as client:
        response = client.get(url("stream", process), params={"after": cursor})
        assert response.status_code == 400
        assert response.json()["code"] == "invalid_after"
        if cursor.strip() and cursor.isascii() and cursor == cursor.strip():
            headers = {"Last-Event-ID": cursor}
            assert client.get(url("stream", process, "?after=1"), headers=headers).status_code == 400
        assert "Traceback" not in site.said


@pytest.mark.parametrize("is_watched", [False, True])
def test_fault_54_a_forged_cursor_beyond_the_log(is_watched: bool, user: User, process: Process) -> None:
    with serve() as site, site.client(user) as client, ExitStack() as stack:
        if is_watched:
            others = stack.enter_context(site.stream(client, process))
            process.milestone("known")
            assert [next(others).id for _ in range(3)] == ["", "1", "2"]
        for headers, query in (({"Last-Event-ID": "999999"}, ""), ({}, f"?after={2**63 - 1}")):
            with site.stream(client, process, query, **headers) as events:
                next(events)
                reset, first = next(events), next(events)
            assert (reset.event, reset.json()) == ("reset", {"after": 0, "reason": "unknown"})
            assert first.id == "1"
        process.succeed()
        assert client.get(url("stream", process, "?after=999999")).status_code == 204


# 56


def test_fault_56_gone_during_a_replay(user: User, process: Process) -> None:
    write(process, MANY)
    with serve(MAX_STREAMS=1) as site, site.client(user) as client:
        assert free(client, process)  # Has its templates by now.
        wait_until(lambda: free(client, process))
        for _turn in range(3):
            with Reader.let_in(site, client, process) as reader:
                said = reader.read_until(b"id: 300\n")
                assert b"id: 100000\n" not in said
                assert not free(client, process)
            left_at = time.monotonic()
            wait_until(lambda: free(client, process), timeout=2, what="the end of a replay that nobody reads")
            assert time.monotonic() - left_at < 2
        # The hub's two, whether or not it had them before. SQLite doesn't close what others of the process have
        # locked, but keeps it for whoever is next: it holds as many more as were open at a time.
        most = 4 if connection.vendor == "sqlite" else 2
        wait_until(lambda: site.connections <= most, timeout=5, what="the connections")
        assert "Traceback" not in site.said


# 57


def test_fault_57_a_reader_that_reads_nothing(user: User, process: Process) -> None:
    write(process, 20_000, size=1_000)
    with serve("tests.push.hasty:application", MAX_STREAMS=1) as site, site.client(user) as client:
        assert free(client, process)
        wait_until(lambda: free(client, process))
        before = site.memory
        with Reader.let_in(site, client, process):
            grown = 0
            end = time.monotonic() + 20
            while not free(client, process):
                grown = max(grown, site.memory - before)
                assert time.monotonic() < end, "It is still open."
                time.sleep(0.05)
            # The replay is 20 MB; what was read of it, and the server's buffers, are far less.
            assert grown < 8 * 2**20, f"{grown / 2**20:.1f} MB"


# 58


class SmallPostgres(Postgres):
    """PostgreSQL that takes twenty connections, three of them the superuser's."""

    @property
    def command(self) -> list[str]:
        return [*super().command, "-c", "max_connections=20", "-c", "superuser_reserved_connections=3"]


@pytest.mark.postgres
@pytest.mark.parametrize("options", [{}, {"CONN_MAX_AGE": 600}])
def test_fault_58_many_idle_streams_and_few_connections(options: dict[str, Any], settings: Any) -> None:
    server = SmallPostgres()
    try:
        server.prepare()
        server.start()
        with use_database(server):
            user = User.objects.create_user("ada")
            process = Process.objects.start("Import", owner=user)
            entry = "tests.push.hasty:application"
            with serve(entry, WATCH_INTERVAL=0.1) as site, client_of(user, base_url=site.url) as client:
                readers = []
                try:
                    for _number in range(200):
                        readers.append(Reader(site, client, process))
                        readers[-1].read_until(b"id: 1\n")
                    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                    wait_until(lambda: site.connections <= 2, timeout=5, what="the connections of idle streams")
                    assert int(server.query(count)) <= 4  # Its two, this program's, and psql's own.
                    for _turn in range(5):
                        assert client.get(url("status", process)).status_code == 200
                    process.milestone("all")
                    for reader in readers:
                        reader.read_until(b"id: 2\n")
                    assert site.connections <= 2
                finally:
                    for reader in readers:
                        reader.socket.close()
            process.succeed()
    finally:
        connections.close_all()
        server.remove()


# 59


def test_fault_59_reconnects_by_header_and_by_query(user: User, process: Process) -> None:
    write(process, 20)
    process.succeed()
    with serve() as site, site.client(user) as client:
        for query, headers, expected in (
            ("", {}, 1),
            ("?after=0", {}, 1),
            ("?after=7", {}, 8),
            ("", {"Last-Event-ID": "7"}, 8),
            ("?after=3", {"Last-Event-ID": "7"}, 8),
            # Whoever was told to begin anew has come from further.
            ("?after=12", {"Last-Event-ID": "7"}, 8),
            ("?after=7", {"Last-Event-ID": ""}, 8),
        ):
            with site.stream(client, process, query, **headers) as events:
                assert seqs(list(events)) == list(range(expected, 22)), (query, headers)
        listed = client.get(url("events", process, "?limit=500")).json()["events"]
        with site.stream(client, process) as events:
            assert objects(list(events)) == listed


# 60


def test_fault_60_reconnects_after_the_end(user: User, process: Process) -> None:
    with serve(WATCH_INTERVAL=0.05) as site, site.client(user) as client:
        with site.stream(client, process) as events:
            assert [next(events).id, next(events).id] == ["", "1"]
            process.succeed(result={"rows": 3})
            read = list(events)
        assert [event.json()["type"] for event in read] == ["succeeded"]
        for query, headers in (("", {"Last-Event-ID": read[-1].id}), (f"?after={read[-1].id}", {})):
            response = client.get(url("stream", process, query), headers=headers)
            assert (response.status_code, response.content) == (204, b"")


# 61


def test_fault_61_texts_that_would_break_a_stream(user: User, process: Process) -> None:
    texts = [
        "two\nlines",
        "a\r\nb",
        "a\rb",
        "id: 99\nevent: reset\n\ndata: forged",
        "\n\n",
        "retry: 1",
        ": x",
        "\u2028x\x85",
    ]
    for number, text in enumerate(texts):
        process.milestone(f"m{number}", text)
        process.set_message("k", text)
    process.milestone("nul", "a\0b")
    process.succeed()
    with serve() as site, site.client(user) as client:
        with site.stream(client, process) as events:
            read = list(events)
        listed = client.get(url("events", process, "?limit=500")).json()["events"]
    assert objects(read) == listed
    assert seqs(read) == [event["seq"] for event in listed]
    assert {event.event for event in read} == {"message"}
    assert [event["message"] for event in listed if event["name"].startswith("m")] == [
        Event.objects.get(process=process, name=f"m{number}").text for number in range(len(texts))
    ]


# 63


def shared_with_eve(process: Process, user: User) -> User:
    eve = User.objects.create_user("eve")
    sharing.share(process, eve, by=user)
    return eve


def log_out(user: User, client: Any) -> None:
    """Log out as in another tab."""
    known = Client()
    known.cookies["sessionid"] = client.cookies["sessionid"]
    known.logout()


def revoke(process: Process, user: User, client: Any) -> None:
    sharing.unshare(process, user)


def deactivate(process: Process, user: User, client: Any) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


WAYS: list[Any] = [
    pytest.param(lambda process, user, client: log_out(user, client), id="logs out"),
    pytest.param(revoke, id="not shared any more"),
]


@pytest.mark.redis
@pytest.mark.parametrize("lose", WAYS)
def test_fault_63_the_stream_ends_at_once(
    lose: Callable[..., None], user: User, process: Process, settings: Any
) -> None:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": services.REDIS_URL}
    eve = shared_with_eve(process, user)
    with serve(**settings.DJANGO_PROGRESS) as site, site.client(eve) as client, site.client(user) as mine:
        with site.stream(client, process) as events, site.stream(mine, process) as others:
            assert [next(events).id, next(events).id] == ["", "1"]
            assert [next(others).id, next(others).id] == ["", "1"]
            began = time.monotonic()
            lose(process, eve, client)
            assert next(events, None) is None
            assert time.monotonic() - began < 3
            process.milestone("secret")
            assert next(others).json()["name"] == "secret"
        assert client.get(url("stream", process, "?after=1")).status_code == 404


@pytest.mark.parametrize("lose", [*WAYS, pytest.param(deactivate, id="deactivated")])
def test_fault_63_nothing_is_told_when_the_last_answer_is_old(
    lose: Callable[..., None], user: User, process: Process
) -> None:
    eve = shared_with_eve(process, user)
    entry = "tests.push.hasty:application"
    with serve(entry, WATCH_INTERVAL=0.05, STREAM_KEEP_ALIVE=0.1) as site, site.client(eve) as client:
        with site.stream(client, process) as events:
            assert [next(events).id, next(events).id] == ["", "1"]
            process.milestone("told")
            assert next(events).json()["name"] == "told"
            lose(process, eve, client)
            lost_at = time.monotonic()
            wait_until(lambda: time.monotonic() > lost_at + 0.7)
            process.milestone("secret")
            assert next(events, None) is None
        assert client.get(url("stream", process, "?after=1")).status_code == 404


# 64


def test_fault_64_the_server_is_stopped_with_open_streams(user: User, process: Process) -> None:
    with serve(WATCH_INTERVAL=0.05) as site, site.client(user) as client:
        with site.stream(client, process) as events, site.stream(client, process) as more:
            assert [next(events).id, next(events).id] == ["", "1"]
            assert [next(more).id, next(more).id] == ["", "1"]
            assert site.process is not None
            began = time.monotonic()
            site.process.terminate()
            # The answers are complete: a reader can tell that nothing was torn apart.
            assert list(events) == list(more) == []
            site.process.wait(10)
            assert time.monotonic() - began < 5
        assert "Traceback" not in site.said
        site.process = None
        process.milestone("meanwhile")
        site.start()
        process.succeed()
        with site.stream(client, process, **{"Last-Event-ID": "1"}) as events:
            assert [event["type"] for event in objects(list(events))] == ["milestone", "succeeded"]
