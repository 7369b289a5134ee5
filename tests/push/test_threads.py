"""The thread that Django gives a request: it ends when a stream needs it no longer."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async

from django_progress.push.threads import end_request_thread
from tests.workers import wait_until


async def thread() -> threading.Thread:
    """Return the thread in which synchronous code runs here."""
    return await sync_to_async(threading.current_thread)()


def test_a_thread_ends_and_whoever_needs_one_gets_another() -> None:
    async def answer() -> None:
        async with ThreadSensitiveContext():
            end_request_thread()  # Nobody has asked for one yet.
            first = await thread()
            assert await thread() is first
            end_request_thread()
            wait_until(lambda: not first.is_alive(), what="the end of a thread")
            second = await thread()
            assert second is not first
            assert second.is_alive()
        wait_until(lambda: not second.is_alive(), what="the end of the request's last thread")

    asyncio.run(answer())


def test_other_requests_keep_theirs() -> None:
    async def other(begun: asyncio.Event, ended: asyncio.Event) -> None:
        async with ThreadSensitiveContext():
            first = await thread()
            begun.set()
            await ended.wait()
            assert await thread() is first

    async def answer() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(other(begun, ended))
            await begun.wait()
            async with ThreadSensitiveContext():
                await thread()
                end_request_thread()
            ended.set()

    asyncio.run(answer())


def test_outside_a_request_nothing_ends() -> None:
    async def answer() -> None:
        first = await thread()
        end_request_thread()
        assert await thread() is first

    asyncio.run(answer())


@pytest.mark.skipif(
    "executor" not in inspect.signature(ThreadSensitiveContext).parameters, reason="this asgiref takes no executor"
)
def test_the_callers_own_thread_is_the_callers() -> None:
    async def answer(executor: ThreadPoolExecutor) -> None:
        async with ThreadSensitiveContext(executor=executor):
            first = await thread()
            end_request_thread()
            assert await thread() is first

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(answer(executor))
