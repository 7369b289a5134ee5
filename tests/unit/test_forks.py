"""That a worker's threads and its forks keep out of each other's way where the database is a file."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable

import pytest
from django.conf import settings

from django_progress import forks


def fork() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # That there are threads is the point.
        pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def begun(work: Callable[[], None]) -> tuple[threading.Thread, threading.Event]:
    """Do something in a thread of its own; return that, and what tells that it is done."""
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, done


@pytest.mark.skipif(settings.DATABASE != "sqlite", reason="Only SQLite can't be forked.")
def test_a_fork_waits_for_what_uses_the_database_and_that_for_the_fork() -> None:
    inside, leave = threading.Event(), threading.Event()

    def use() -> None:
        with forks.kept_off():
            inside.set()
            assert leave.wait(30)

    user, _ = begun(use)
    assert inside.wait(30)
    forker, forked = begun(fork)
    assert not forked.wait(0.3)
    leave.set()
    assert forked.wait(30)
    # And whoever comes while somebody forks.
    forks._wait()
    late, used = begun(use)
    assert not used.wait(0.3)
    forks._changed.release()
    assert used.wait(30)
    for thread in (user, forker, late):
        thread.join(30)
    assert not any(forks._busy.values())


def test_a_thread_does_not_wait_for_itself() -> None:
    """What a hook of the sweep starts, say."""
    with forks.kept_off():
        fork()


@pytest.mark.skipif(settings.DATABASE == "sqlite", reason="SQLite can't be forked.")
def test_servers_are_not_waited_for() -> None:
    with forks.kept_off():
        forker, forked = begun(fork)
        assert forked.wait(30)
        forker.join(30)
