"""What every adapter that brings wake-ups has to do."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio

from django_progress.push import redis as by_redis
from django_progress.push import sending
from django_progress.push.redis import RedisWakeUps
from django_progress.push.wakeups import DatabaseWakeUps, WakeUps, configured
from tests.private import SilentPort, refused_port
from tests.push.channels import CHANNELS, Channel, Listener, eventually, listening
from tests.workers import wait_until

on_each_channel = pytest.mark.parametrize("channel", CHANNELS, indirect=True)


@pytest.fixture
def wake_ups(channel: Channel, settings: Any) -> WakeUps:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": channel.setting}
    return configured()


# The contract


@on_each_channel
def test_a_word_is_heard_by_all_who_listen(wake_ups: WakeUps) -> None:
    async def scenario() -> list[Listener]:
        async with AsyncExitStack() as stack:
            listeners = [await stack.enter_async_context(listening(configured())) for _ in range(3)]
            await asyncio.to_thread(wake_ups.send, ["17"])
            await asyncio.to_thread(wake_ups.send, ["access 17", "session 0a"])
            for listener in listeners:
                await eventually(lambda found=listener: len(found.words) >= 3)
        return listeners

    assert wake_ups.has_channel
    for listener in asyncio.run(scenario()):
        assert sorted(listener.words) == ["17", "access 17", "session 0a"]
        assert listener.lost == 1


@on_each_channel
def test_many_words_are_sent_together(wake_ups: WakeUps) -> None:
    many = {str(number) for number in range(1_234)}

    async def scenario() -> Listener:
        async with listening(wake_ups) as listener:
            await asyncio.to_thread(wake_ups.send, many)
            await eventually(lambda: len(listener.words) >= len(many))
        return listener

    heard = asyncio.run(scenario()).words
    assert len(heard) == len(many)
    assert set(heard) == many


@on_each_channel
def test_it_goes_on_after_the_server_was_killed(wake_ups: WakeUps, channel: Channel) -> None:
    """What was missed meanwhile nobody knows, so it is said that words were lost; later ones are heard."""

    async def scenario() -> None:
        async with listening(wake_ups) as listener:
            before = listener.lost
            channel.kill()
            with pytest.raises((ConnectionError, redis.ConnectionError)):
                await asyncio.to_thread(wake_ups.send, ["1"])
            channel.start()
            await eventually(lambda: listener.lost > before and channel.count())
            told = listener.lost
            await asyncio.to_thread(wake_ups.send, ["2"])
            await eventually(lambda: "2" in listener.words)
            assert listener.words == ["2"]
            assert listener.lost == told

    asyncio.run(scenario())


@on_each_channel
def test_who_stops_to_listen_leaves_nothing(wake_ups: WakeUps, channel: Channel) -> None:
    async def scenario() -> None:
        async with listening(wake_ups), listening(wake_ups):
            await eventually(lambda: channel.count() == 2)

    asyncio.run(scenario())
    wait_until(lambda: channel.count() == 0, what="the connections to be gone")


@on_each_channel
def test_many_reports_become_few_words(wake_ups: WakeUps, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand reports on three processes the first is sent at once, the others together."""
    batches: list[frozenset[str]] = []
    send = type(wake_ups).send

    def counted(self: WakeUps, words: Any) -> None:
        batches.append(frozenset(words))
        send(self, words)

    monkeypatch.setattr(type(wake_ups), "send", counted)

    async def scenario() -> Listener:
        sender = sending.WordSender()
        async with listening(wake_ups) as listener:
            begun = time.monotonic()
            for number in range(1_000):
                sender.send(str(number % 3))
                await asyncio.sleep(0.0002)
            await asyncio.to_thread(sender.flush)
            took = time.monotonic() - begun
            await eventually(lambda: set(listener.words) == {"0", "1", "2"})
        assert len(batches) <= 2 + took / sending.GAP
        return listener

    assert len(asyncio.run(scenario()).words) <= 3 * len(batches)


@on_each_channel
def test_the_sender_recovers(
    wake_ups: WakeUps, channel: Channel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Words that can't be sent are dropped, said once in the log; when the server is back, words are sent again."""
    monkeypatch.setattr(sending, "PAUSE", 0.05)
    sender = sending.WordSender()
    channel.kill()
    for number in range(5):
        sender.send(f"{number}")
        wait_until(lambda: not sender._words and not sender._is_sending, what="the words to be dropped")
    channel.start()

    async def scenario() -> Listener:
        async with listening(wake_ups) as listener:
            sender.send("5")
            await eventually(lambda: listener.words)
        return listener

    caplog.set_level("INFO", "django_progress")
    assert asyncio.run(scenario()).words == ["5"]
    said = [record.getMessage() for record in caplog.records if "can't be sent" in record.getMessage()]
    assert len(said) == 1
    wait_until(lambda: "Wake-ups are sent again." in caplog.messages)


# None


def test_without_a_channel(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": ""}
    wake_ups = configured()
    assert isinstance(wake_ups, DatabaseWakeUps)
    assert not wake_ups.has_channel

    async def scenario() -> Listener:
        async with listening(wake_ups) as listener:
            await asyncio.to_thread(wake_ups.send, ["1"])
            await asyncio.sleep(0)
        return listener

    assert asyncio.run(scenario()) == Listener(words=[], lost=1)


# Redis


def redis_at(port: int) -> RedisWakeUps:
    return RedisWakeUps(f"redis://127.0.0.1:{port}/0")


def test_sending_to_a_refused_port_fails_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(Exception, match="refused"):
        redis_at(refused_port()).send(["1"])
    assert time.monotonic() - begun < 1


def test_sending_to_a_silent_port_ends_soon() -> None:
    begun = time.monotonic()
    with SilentPort() as silent, pytest.raises(Exception, match=r"[Tt]imeout"):
        redis_at(silent.port).send(["1"])
    assert time.monotonic() - begun < 2 * by_redis.PATIENCE


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_whoever_writes_does_not_wait(kind: str, settings: Any) -> None:
    with SilentPort() as silent:
        settings.DJANGO_PROGRESS = {
            "WAKE_UPS": f"redis://127.0.0.1:{refused_port() if kind == 'refused' else silent.port}/0"
        }
        sender = sending.WordSender()
        slowest = 0.0
        for number in range(1_000):
            begun = time.monotonic()
            sender.send(str(number))
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 0.25
        begun = time.monotonic()
        sender.flush()
        assert time.monotonic() - begun < 1.5 * sending.LAST
        # From then on it is known to fail, and nobody waits at all.
        wait_until(lambda: sender._is_failing)
        sender.send("more")
        begun = time.monotonic()
        sender.flush()
        assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_who_cannot_listen_is_told_to_look(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_redis, "PATIENCE", 0.1)

    async def scenario() -> None:
        with SilentPort() as silent:
            wake_ups = redis_at(refused_port() if kind == "refused" else silent.port)
            async with listening(wake_ups) as listener:
                await eventually(lambda: listener.lost >= 3)
                assert listener.words == []

    asyncio.run(scenario())


@pytest.mark.redis
@pytest.mark.parametrize("channel", ["redis"], indirect=True)
def test_a_server_that_freezes_is_noticed(wake_ups: WakeUps, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stays open, and no word comes any more: whoever listens asks."""
    monkeypatch.setattr(by_redis, "PATIENCE", 0.2)
    monkeypatch.setattr(by_redis, "QUIET", 0.1)
    assert channel.server is not None

    async def scenario() -> None:
        async with listening(wake_ups) as listener:
            asked: list[int] = []
            ping = redis.asyncio.client.PubSub.ping
            monkeypatch.setattr(redis.asyncio.client.PubSub, "ping", lambda self: (asked.append(1), ping(self))[1])
            # Silence alone is no reason.
            await eventually(lambda: len(asked) >= 5)
            assert listener.lost == 1
            channel.server.freeze()  # type: ignore[union-attr]
            await eventually(lambda: listener.lost > 1, "the silence to be noticed")
            channel.server.thaw()  # type: ignore[union-attr]
            while not listener.words:  # It may still be about to connect again.
                await asyncio.to_thread(wake_ups.send, ["1"])
                await asyncio.sleep(0.05)

    asyncio.run(scenario())
