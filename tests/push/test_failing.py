"""The hub and its streams when something fails, ends or is taken away; and that they hold nothing afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections
from django.http.response import HttpResponseBase
from django.test import AsyncClient, AsyncRequestFactory

from django_progress.models import Event, Process
from django_progress.push import hub as hub_module
from django_progress.push import kept, looking, rounds, stopping
from django_progress.push.hub import Hub, HubClosed
from django_progress.push.watching import Watched
from django_progress.views import page_stream, streaming, streams
from tests.push.channels import eventually

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 20


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def process(user: User) -> Process:
    return Process.objects.start("Import", owner=user)


@pytest.fixture(autouse=True)
def often(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"WATCH_INTERVAL": 0.02}


def run(check: Callable[[Hub], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await check(Hub.here())

    asyncio.run(within())


async def in_thread(write: Callable[[], object]) -> None:
    def work() -> None:
        try:
            write()
        finally:
            connection.close()

    await asyncio.to_thread(work)


def asked(user: User, query: str = "") -> Any:
    request: Any = AsyncRequestFactory().get(f"/{query}")
    request.user, request.session = user, None
    return request


async def answer(user: User, process: Process, query: str = "") -> Any:
    return await streams.stream(asked(user, query), key=process.key)


# What is kept


class Row:
    """Something large."""


def test_nothing_is_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOMENT", 1.0)

    async def check(hub: Hub) -> None:
        row = await hub.once("row", Row)
        gone = weakref.ref(row)
        assert await hub.once("row", Row) is row
        assert await hub.row_at(1, 5.0) is None
        assert len(hub._kept) == 2
        del row
        await eventually(lambda: not len(hub._kept), "the results to be dropped")
        gc.collect()
        assert gone() is None

    run(check)


def test_nothing_is_kept_when_nobody_watches(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOMENT", 600)
    monkeypatch.setattr(rounds, "LINGER", 0.05)

    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            await hub.once("row", Row)
        await eventually(lambda: not len(hub._kept), "the results to be dropped")

    run(check)


def test_many_who_look_at_a_moment_are_one_query(
    user: User, process: Process, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_PROGRESS = {"POLL_INTERVALS": (0.5, 0.5, 0.5), "WATCH_INTERVAL": 600.0}
    reads: list[Any] = []

    def read_rows(pks: Any) -> Any:
        reads.append(pks)
        return looking.read_rows(pks)

    monkeypatch.setattr(hub_module, "read_rows", read_rows)

    async def check(hub: Hub) -> None:
        async def read(number: int) -> None:
            await asyncio.sleep(number * 0.03)
            response = await answer(user, process, "?format=html")
            seen = 0
            async for _chunk in response:
                seen += 1
                if seen == 6:
                    break

        await asyncio.gather(*(read(number) for number in range(10)))
        assert len(reads) <= 10

    run(check)


def test_an_older_row_does_not_replace_a_newer_one() -> None:
    async def check(hub: Hub) -> None:
        rows = [Process(revision=number) for number in range(3)]
        watched = Watched(1)
        for found, expected in ((1, 1), (0, 1), (2, 2)):
            watched.take_row(rows[found])
            assert watched.row is not None
            assert watched.row[1].result() is rows[expected]
        asking: asyncio.Future[Process | None] = asyncio.get_running_loop().create_future()
        watched.row = (0, asking)
        watched.take_row(rows[2])
        assert watched.row == (watched.generation, asking)

    run(check)


# Watches


def test_who_is_woken_while_not_waiting_does_not_wait(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            watch.wake()
            assert await asyncio.wait_for(watch.next(60), 5) == {}
            assert await watch.next(0.2) == {}
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch.next(60), 0.2)

    run(check)


def test_what_was_purged_before_it_was_read_is_noticed(process: Process) -> None:
    def purge() -> None:
        Process.objects.filter(pk=process.pk).update(last_seq=4)

    async def check(hub: Hub) -> None:
        async with hub.follow(process.pk, process.key, "en") as follower:
            follower.join(1)
            await follower.next(SOON)
            assert follower.take(1) == []
            await in_thread(purge)
            async with asyncio.timeout(10):
                while follower.take(1) is not None:
                    await follower.next(SOON)

    run(check)


def test_a_cursor_at_the_end_of_what_has_ended(user: User, process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.follow(process.pk, process.key, "en") as follower:
            follower.join(1)
            await in_thread(process.succeed)
            while not follower.take(1):
                await follower.next(SOON)
            async with asyncio.timeout(10):
                assert [chunk async for chunk in streams._events(asked(user), process.pk, process.key, 2, "en")] == []

    run(check)


def test_a_replay_ends_when_the_server_stops(user: User, process: Process) -> None:
    Event.objects.bulk_create(
        Event(process=process, seq=seq, type="log", message="x", happened_at=process.created_at)
        for seq in range(2, 4_001)
    )
    Process.objects.filter(pk=process.pk).update(last_seq=4_000, revision=4_000)

    async def check(hub: Hub) -> None:
        said = b""
        async for chunk in await answer(user, process):
            said += chunk
            if b"id: 1\n" in said:
                hub.close()
        assert b"id: 4000\n" not in said

    run(check)


# The adapter


class Deaf:
    """Listens to nothing: it fails, or gives up."""

    has_channel = True
    calls = 0
    error: Exception | None = ConnectionError("gone")

    async def listen(self, heard: object, lost: object) -> None:
        type(self).calls += 1
        if self.error:
            raise self.error


@pytest.mark.parametrize("error", [ConnectionError("gone"), None])
def test_an_adapter_that_stops_to_listen(
    error: Exception | None, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Deaf, "error", error)
    monkeypatch.setattr(Deaf, "calls", 0)
    monkeypatch.setattr(rounds, "configured", Deaf)
    monkeypatch.setattr(rounds, "SAFETY", 600.0)
    monkeypatch.setattr(rounds, "DEAF", 0.2)

    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            await in_thread(lambda: process.milestone("seen"))
            assert await watch.next(SOON)
            await eventually(lambda: Deaf.calls > 2, "another try")

    run(check)
    assert caplog.text.count("has stopped to listen") == 1


def test_a_word_that_is_no_key(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]):
            for word in ("9" * 5_000, "", "-1", "x"):
                hub.heard(word)
        assert not hub._dirty

    run(check)


# The hub


def test_a_hub_that_fails_begins_again(
    user: User, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failures = Hub._apply, iter([True])
    monkeypatch.setattr(rounds, "AFTER_FAILURE", 0.5)

    def apply(*given: Any) -> None:
        for _failure in failures:
            raise LookupError("a bug")
        real(*given)

    monkeypatch.setattr(Hub, "_apply", apply)

    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            with pytest.raises(HubClosed):
                await watch.next(SOON)
            response = await answer(user, process)
            assert (response.status_code, response.streaming) == (503, False)
            assert int(response["Retry-After"]) >= 10
            with pytest.raises(HubClosed):
                async with hub.watch([process.pk]):
                    pass
            await eventually(lambda: not hub.has_failed, "another try")
            with pytest.raises(HubClosed):
                await watch.next(SOON)
        async with hub.watch([process.pk]) as watch:
            assert await watch.next(SOON)
        assert (await answer(user, process)).status_code == 200

    run(check)
    assert caplog.text.count("can't be read; it is tried again") == 1


def test_a_page_is_not_greeted_by_a_hub_that_has_failed(user: User, process: Process) -> None:
    async def check(hub: Hub) -> None:
        hub._failed_until = asyncio.get_running_loop().time() + 60
        with pytest.raises(HubClosed):
            await anext(page_stream.Page(asked(user), []).chunks())

    run(check)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals that the program's own handler has got."""
    monkeypatch.setattr(stopping, "_is_stopping", False)
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    got: list[int] = []
    for number in stopping.SIGNALS:
        signal.signal(number, lambda number, frame: got.append(number))
    yield got
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_hub_that_begins_when_the_server_is_stopping(
    process: Process, signals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LINGER", 0.05)

    async def first(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
        await eventually(lambda: hub._task is None, "its rest")
        signal.raise_signal(signal.SIGTERM)
        assert signals == [signal.SIGTERM]
        await eventually(lambda: hub.is_closed, "the end of a hub that rests")

    async def second(hub: Hub) -> None:
        async with hub.watch([process.pk]):
            await eventually(lambda: hub.is_closed, "the end of a hub that has just begun")

    run(first)
    run(second)


# The database


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed"), DatabaseError("odd")])
def test_a_stream_whose_database_is_gone_just_ends(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise error

    async def check(hub: Hub) -> None:
        chunks = [chunk async for chunk in streaming.Stream(source()).chunks()]
        assert chunks[1:] == [b"data: 1\n\n"]

    run(check)
    (record,) = [record for record in caplog.records if record.name == "django_progress"]
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_without_a_database_there_is_no_stream(
    error: Exception, user: User, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(*args: Any) -> None:
        raise error

    monkeypatch.setattr(streams, "find", find)
    monkeypatch.setattr(page_stream, "find", find)

    async def check(hub: Hub) -> None:
        responses: list[HttpResponseBase] = [await answer(user, process), await page_stream.stream(asked(user))]
        for response in responses:
            assert (response.status_code, response["Content-Type"]) == (503, "application/problem+json")
            assert int(response["Retry-After"]) >= 10

    run(check)


def test_a_region_of_which_nothing_is_known_is_kept_alive(
    user: User, process: Process, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_PROGRESS = {"STREAM_KEEP_ALIVE": 0.05}

    def read(plan: Any) -> Any:
        raise DatabaseError("gone")

    monkeypatch.setattr(rounds, "read", read)

    async def check(hub: Hub) -> None:
        response = await answer(user, process, "?format=html")
        said: list[bytes] = []
        async with asyncio.timeout(10):
            async for chunk in response:
                said.append(chunk)
                if len(said) == 4:
                    break
        assert said[1:] == [b": \n"] * 3

    run(check)


@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic requests"])
def test_streams_where_requests_are_transactions(
    is_atomic: bool, user: User, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", is_atomic)
    client = AsyncClient()
    client.force_login(user)

    async def check(hub: Hub) -> None:
        poll = f"/progress/stream/?poll=/progress/{process.key}/fragments/status/"
        for address in (f"/progress/{process.key}/stream/", f"/progress/{process.key}/stream/?format=html", poll):
            response: Any = await client.get(address)
            assert response.status_code in (200, 204), address

    run(check)
