"""Many processes at once, of different owners, with sweeps, beats and pruning beside them: none hinders another."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_progress import leases
from django_progress.models import Attempt, Process
from django_progress.retention import prune
from django_progress.status import TERMINAL, Status
from django_progress.sweep import sweep
from tests.executing import claim, execute, fresh, settle, start
from tests.invariants import check_invariants
from tests.races.threads import all_together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

LIVES = int(os.environ.get("DJANGO_PROGRESS_ROUNDS", "50")) // 5
LONGEST = 60 + 10 * LIVES
"""Seconds that many lives may take on a busy machine."""


def live(owner: User) -> None:
    """Everything that may happen to a process, again and again."""

    def boom(process: Process) -> None:
        process.set_progress(5, 10)
        raise RuntimeError

    for number in range(LIVES):
        process = start(owner=owner, max_attempts=3, idempotency_key=f"key {number}")
        execute(process, lambda p: p.milestone("one") or p.set_message("a", "b") or p.requeue())
        execute(process, boom)
        execute(process, lambda p: "done")
        assert fresh(process).status == Status.SUCCEEDED
        process = start(owner=owner, max_duration=60)
        executing = claim(process)
        fresh(process).cancel(by=owner)
        settle(executing, lambda p: p.checkpoint())
        assert fresh(process).status == Status.CANCELLED
        child = process.retry()
        assert process.retry() == child
        child.cancel()
        process.remove()


def test_lives_beside_one_another(django_user_model: Any) -> None:
    owners = [User.objects.create_user(f"owner{number}") for number in range(4)]
    over = threading.Event()

    def tend() -> None:
        while not over.is_set():
            sweep()
            held = Attempt.objects.executing().values_list("token", flat=True)
            leases.renew(dict.fromkeys(held, leases.Held(lease=60, beat=10, using="default")))

    def clean() -> None:
        while not over.is_set():
            prune(0, batch=3)

    def all_lives() -> None:
        try:
            all_together(*[partial(live, owner) for owner in owners], longest=LONGEST)
        finally:
            over.set()

    all_together(all_lives, tend, longest=LONGEST)
    check_invariants()
    assert not Process.objects.exclude(status__in=TERMINAL).exists()

    over.clear()
    all_together(partial(_forgetful_lives, owners, over), tend, clean, longest=LONGEST)


def _forgetful_lives(owners: list[User], over: threading.Event) -> None:
    def forgetful(owner: User) -> None:
        for _ in range(LIVES):
            execute(start(owner=owner, max_attempts=2), lambda p: p.milestone("one") or p.requeue())
            Process.objects.start("x", owner=owner).succeed()

    try:
        all_together(*[partial(forgetful, owner) for owner in owners], longest=LONGEST)
    finally:
        over.set()
