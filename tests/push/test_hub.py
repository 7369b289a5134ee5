"""The hub: however many watch, it looks once, reads once and works once; and nothing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection

from django_progress.models import Process
from django_progress.push import hub as hub_module
from django_progress.push import kept, looking, rounds
from django_progress.push.hub import Hub, HubClosed
from django_progress.status import Status

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 20


@pytest.fixture
def process(transactional_db: None) -> Process:
    return Process.objects.start("Import", owner=User.objects.create_user("ada"))


@pytest.fixture
def seldom(settings: Any) -> None:
    """Look at the database so seldom that only wake-ups can be why something is seen."""
    settings.DJANGO_PROGRESS = {"WATCH_INTERVAL": 600.0}


@pytest.fixture
def often(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"WATCH_INTERVAL": 0.02}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pks of each query for rows."""
    found: list[Any] = []
    real = looking.read_rows

    def counted(pks: Any) -> Any:
        found.append(sorted(pks))
        return real(pks)

    monkeypatch.setattr(hub_module, "read_rows", counted)
    monkeypatch.setattr(looking, "read_rows", counted)
    return found


def run(check: Callable[[Hub], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await check(Hub.here())

    asyncio.run(within())


async def change(process: Process) -> None:
    """Write, in a thread whose connection is closed afterwards."""

    def write() -> None:
        try:
            process.milestone("next")
        finally:
            connection.close()

    await asyncio.to_thread(write)


async def seq_of(hub: Hub, process: Process, generation: int) -> int:
    row = await hub.row(process.pk, generation)
    assert row is not None
    return row.last_seq


@pytest.mark.usefixtures("seldom")
def test_a_watch_begins_with_all_and_is_told_of_changes(process: Process) -> None:
    async def check(hub: Hub) -> None:
        other = process.pk + 100
        async with hub.watch([process.pk, other]) as watch:
            begun = await watch.next(SOON)
            begun |= await watch.next(0.2)
            assert begun.keys() == {process.pk, other}
            assert await seq_of(hub, process, begun[process.pk]) == 1
            assert await hub.row(other, begun[other]) is None
            assert await watch.next(0.05) == {}
            await change(process)
            hub.heard(str(process.pk))
            changed = await watch.next(SOON)
            assert changed.keys() == {process.pk}
            assert changed[process.pk] > begun[process.pk]
            assert await seq_of(hub, process, changed[process.pk]) == 2
            hub.heard("999999")
            hub.heard("access 3")
            assert await watch.next(0.05) == {}
        assert not hub._watched

    run(check)


@pytest.mark.usefixtures("seldom")
def test_a_watch_that_begins_later_misses_nothing(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as first:
            old = (await first.next(SOON))[process.pk]
            assert await seq_of(hub, process, old) == 1
            # Its wake-up gets lost.
            await change(process)
            async with hub.watch([process.pk]) as second:
                new = (await second.next(SOON))[process.pk]
                assert await seq_of(hub, process, new) == 2
            assert (await first.next(SOON)) == {process.pk: new}

    run(check)


@pytest.mark.usefixtures("often")
def test_without_a_wake_up_it_is_seen_at_the_next_look(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            await change(process)
            assert await watch.next(SOON)
            assert await watch.next(0.2) == {}

    run(check)


@pytest.mark.usefixtures("seldom")
def test_waits_end_in_time_though_they_share_a_timer(process: Process, seldom: None) -> None:
    async def check(hub: Hub) -> None:
        time = asyncio.get_running_loop().time
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            waits = (60, 0), (0.2, 0.2), (None, 0), (0.2, 0), (0.5, 0.5), (0.2, 0), (None, 0), (0.3, 0.3)
            for timeout, least in waits:
                begun = time()
                if not least:
                    # Woken long before its time is over, which comes in the middle of the next.
                    asyncio.get_running_loop().call_later(0.01, watch.wake)
                assert await asyncio.wait_for(watch.next(timeout), 10) == {}
                assert least <= time() - begun + 0.01 < least + 5
            assert await watch.next(0) == {}
            with pytest.raises(TimeoutError):
                # One that is given up leaves no wait behind.
                await asyncio.wait_for(watch.next(None), 0.01)
            begun = time()
            assert await watch.next(0.3) == {}
            assert time() - begun > 0.28

    run(check)


def test_many_ask_and_it_is_one_query(process: Process, reads: list[Any]) -> None:
    others = [Process.objects.start(str(number)) for number in range(3)]
    pks = sorted(row.pk for row in [process, *others])

    async def check(hub: Hub) -> None:
        watches = [hub.watch(pks) for _ in range(20)]
        for watch in watches:
            await watch.__aenter__()
        begun = await watches[0].next(SOON)
        rows = await asyncio.gather(*(hub.row(pk, begun[pk]) for _ in watches for pk in pks))
        assert len({id(row) for row in rows}) == 4
        assert reads == [pks]
        await asyncio.gather(*(hub.row(pk, begun[pk]) for pk in pks))
        assert reads == [pks]
        for watch in watches[1:]:
            await watch.next(SOON)
        await change(process)
        hub.heard(str(process.pk))
        told = [await watch.next(SOON) for watch in watches]
        assert all(each == told[0] for each in told)
        rows = await asyncio.gather(*(hub.row(process.pk, each[process.pk]) for each in told))
        assert {row.last_seq for row in rows if row} == {2}
        assert reads == [pks, [process.pk]]
        for watch in watches:
            await watch.__aexit__()

    run(check)


def test_work_for_many_is_done_once() -> None:
    calls: list[str] = []

    def work() -> str:
        calls.append("work")
        return "done"

    def fail() -> None:
        calls.append("fail")
        raise ValueError("no")

    async def check(hub: Hub) -> None:
        assert await asyncio.gather(*(hub.once(("key", 1), work) for _ in range(50))) == ["done"] * 50
        assert calls == ["work"]
        for _turn in range(2):
            with pytest.raises(ValueError, match="no"):
                await hub.once("other", fail)
        assert calls == ["work", "fail", "fail"]
        for number in range(kept.MOST + 5):
            await hub.once(number, str)
        assert len(hub._kept) == kept.MOST

    run(check)


@pytest.mark.usefixtures("seldom")
def test_whoever_gives_up_takes_nothing_from_others(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            generation = (await watch.next(SOON))[process.pk]
            asking = [asyncio.ensure_future(hub.row(process.pk, generation)) for _ in range(2)]
            await asyncio.sleep(0)
            asking[0].cancel()
            assert (await asking[1]) == process

    run(check)


@pytest.mark.usefixtures("often")
def test_an_expiry_is_stored_on_the_way() -> None:
    process = Process.objects.start("Import", max_duration=0.3)

    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            while True:
                for pk, generation in (await watch.next(SOON)).items():
                    row = await hub.row(pk, generation)
                    assert row is not None
                    if row.status == Status.EXPIRED:
                        return

    run(check)
    process.refresh_from_db()
    assert process.status == Status.EXPIRED


@pytest.mark.usefixtures("seldom")
def test_it_looks_when_the_next_one_expires() -> None:
    process = Process.objects.start("Import", max_duration=1)

    async def check(hub: Hub) -> None:
        assert await hub.event_after(process.pk, 1, SOON)

    run(check)
    process.refresh_from_db()
    assert process.status == Status.EXPIRED


@pytest.mark.usefixtures("often")
def test_waiting_for_an_event(process: Process) -> None:
    async def check(hub: Hub) -> None:
        assert await hub.event_after(process.pk, 0, SOON)
        assert not await hub.event_after(process.pk, 1, 0.2)
        waiting = asyncio.ensure_future(hub.event_after(process.pk, 1, SOON))
        await asyncio.sleep(0)
        await change(process)
        assert await waiting
        assert await hub.event_after(process.pk + 100, 1, SOON), "there will be none"

    run(check)


@pytest.mark.usefixtures("seldom")
def test_when_the_server_stops_all_are_told(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            asyncio.get_running_loop().call_soon(hub.close)
            with pytest.raises(HubClosed):
                await watch.next(SOON)
        with pytest.raises(HubClosed):
            async with hub.watch([process.pk]):
                pass

    run(check)


@pytest.mark.usefixtures("often")
def test_a_database_that_does_not_answer_is_asked_again(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failures = looking.read, iter([DatabaseError("gone"), DatabaseError("gone")])
    monkeypatch.setattr(rounds, "AFTER_ERROR", 0.01)

    def read(plan: Any) -> Any:
        for error in failures:
            raise error
        return real(plan)

    monkeypatch.setattr(rounds, "read", read)

    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            assert await watch.next(SOON)

    run(check)
    assert caplog.text.count("could not be read") == 2


@pytest.mark.postgres
@pytest.mark.usefixtures("often")
def test_connections_that_were_cut_are_replaced(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        connection.close()

    async def check(hub: Hub) -> None:
        async with hub.watch([process.pk]) as watch:
            await watch.next(SOON)
            assert await hub.run(Process.objects.count) == 1
            await asyncio.to_thread(cut)
            assert await hub.run(Process.objects.count) == 1
            await change(process)
            assert await watch.next(SOON)

    connection.close()
    run(check)
    assert not caplog.records


@pytest.mark.usefixtures("seldom")
def test_what_happens_while_somebody_catches_up_is_not_missed(process: Process) -> None:
    async def check(hub: Hub) -> None:
        async with hub.follow(process.pk, process.key, "en") as follower:
            await follower.next(SOON)
            # It has read up to 1; the wake-up for 2 comes before it says so.
            await change(process)
            hub.heard(str(process.pk))
            await follower.next(SOON)
            assert follower.take(1) is None
            follower.join(1)
            while not (entries := follower.take(1)):
                assert await follower.next(SOON)
            assert [entry.event.seq for entry in entries] == [2]

    run(check)
