"""Words of real programs: that fork, that end at once, that are workers of Celery; and that all share one Redis."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection

from django_progress.models import Process
from django_progress.push.redis import RedisWakeUps
from tests.faults.journal import Journal
from tests.faults.tasks import silent
from tests.push.channels import Channel, Listener, listening
from tests.workers import ROOT, Broker, environ, run_worker, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.parametrize("channel", ["redis"], indirect=True)]

SETTINGS = "DJANGO_PROGRESS_TEST_SETTINGS"


@contextmanager
def heard(channel: Channel) -> Iterator[Listener]:
    """Listen in a thread for the length of the block."""
    begun, done = threading.Event(), threading.Event()
    found: list[Listener] = []

    async def listen() -> None:
        async with listening(RedisWakeUps(channel.setting)) as listener:
            found.append(listener)
            begun.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    try:
        assert begun.wait(20)
        yield found[0]
    finally:
        done.set()
        thread.join(20)


def run(program: str, channel: Channel) -> subprocess.CompletedProcess[str]:
    """Run a program that has set up Django, to its end."""
    return subprocess.run(
        [sys.executable, "-c", f"import django, os, sys, time\ndjango.setup()\n{program}"],
        cwd=ROOT,
        env={**environ(), SETTINGS: json.dumps({"WAKE_UPS": channel.setting})},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


LAST_WORDS = """
from django_progress import nudges
from django_progress.push import sending
nudges.send("first")
sending.flush()
nudges.send("second")
nudges.send("third")
"""
"""The first is sent at once, so that the others have to wait; and then the program ends."""

FORK = """
from django_progress import nudges
from django_progress.push import sending
nudges.send("parent")
sending.flush()
nudges.send("for the parent alone")
children = []
for number in range(5):
    child = os.fork()
    if not child:
        nudges.send(f"child {number}")
        sending.flush()
        nudges.send(f"child {number} again")
        sending.flush()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
nudges.send("parent again")
"""

REPORT = """
from django_progress.models import Process
process = Process.objects.start("By hand")
process.succeed()
print(process.pk)
"""


def test_the_last_words_of_a_program_are_sent(channel: Channel) -> None:
    with heard(channel) as listener:
        run(LAST_WORDS, channel)
        wait_until(lambda: set(listener.words) == {"first", "second", "third"})


def test_a_program_whose_server_is_gone_ends_soon(channel: Channel) -> None:
    channel.kill()
    run(f"{LAST_WORDS}\nbegun = time.monotonic()\nsending.flush()\nassert time.monotonic() - begun < 1.5", channel)


def test_children_send_by_themselves(channel: Channel) -> None:
    """Each has a thread and a connection of its own, and says nothing that was its parent's to say."""
    with heard(channel) as listener:
        run(FORK, channel)
        wait_until(lambda: "parent again" in listener.words)
    children = [f"child {number}{again}" for number in range(5) for again in ("", " again")]
    assert sorted(listener.words) == sorted(["for the parent alone", "parent", "parent again", *children])


@pytest.mark.django_db(transaction=True)
def test_a_program_that_ends_with_its_process(channel: Channel) -> None:
    with heard(channel) as listener:
        pk = run(REPORT, channel).stdout.strip()
        wait_until(lambda: pk in listener.words)
    assert set(listener.words) == {pk}
    assert Process.objects.get(pk=pk).is_finished
    connection.close()


@pytest.mark.worker
@pytest.mark.django_db(transaction=True)
def test_a_worker_sends_words_from_its_children(channel: Channel, broker: Broker, tmp_path: Path) -> None:
    env = {SETTINGS: json.dumps({"WAKE_UPS": channel.setting})}
    with heard(channel) as listener, run_worker(broker, patience=0, env=env):
        for number in range(3):
            journal = Journal(tmp_path / str(number))
            process = Process.objects.start("Work", task=silent, args=[str(journal)])
            journal.wait_for_run(1)
            # That it was taken.
            wait_until(lambda pk=str(process.pk): pk in listener.words)
            listener.words.clear()
            journal.open(1)
            # That it has ended.
            wait_until(lambda pk=str(process.pk): pk in listener.words)
            assert Process.objects.get(pk=process.pk).is_finished
    connection.close()
