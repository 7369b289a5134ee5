"""Fault 29: somebody reports 60 %, somebody else 40 %: the percentage that is shown never falls."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.models import Process
from tests.executing import claim, fresh, inside, settle, start
from tests.races.threads import all_together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("ann"))
    return client


def shown(client: Client, process: Process) -> float | None:
    progress: dict[str, float | None] = client.get(f"/progress/{process.key}/status/").json()["progress"]
    return progress["percent"]


def report(process: Process, current: float, total: float) -> None:
    """Report as a program of its own does, and at once."""
    row = fresh(process)
    row.set_progress(current, total)
    row.checkpoint()


def test_fault_29_60_and_then_40(client: Client) -> None:
    process = start(owner=User.objects.get(), total=100, max_attempts=2)
    executing = claim(process)
    with inside(executing):
        report(process, 60, 100)
        assert shown(client, process) == 60
        report(process, 40, 100)
        assert shown(client, process) == 60
        report(process, 60, 200)  # there is more to do than was thought
        assert shown(client, process) == 60
        report(process, 130, 200)
        assert shown(client, process) == 65
    settle(executing, lambda p: 1 / 0)
    # Another attempt begins anew, and says so.
    claim(process)
    assert shown(client, process) == 0
    assert fresh(process).attempt_number == 2


def test_fault_29_40_is_written_by_somebody_who_has_not_seen_60(client: Client) -> None:
    process = Process.objects.start("x", owner=User.objects.get(), total=100)
    late = fresh(process)
    report(process, 60, 100)
    late.set_progress(40, 100)
    late.checkpoint()
    late.milestone("late")
    assert shown(client, process) == 60


def test_fault_29_with_somebody_watching() -> None:
    process = Process.objects.start("x", total=100)
    done = threading.Event()

    def reports(numbers: range) -> None:
        for number in numbers:
            report(process, number, 100 + number)

    def high() -> None:
        reports(range(40, 100, 2))
        reports(range(90, 30, -2))
        done.set()

    def watch() -> list[float | None]:
        seen = []
        while not done.is_set():
            seen.append(fresh(process).percent)
        return seen

    _, _, seen = all_together(high, partial(reports, range(10, 70)), watch)
    assert None not in seen
    assert seen == sorted(seen)  # type: ignore[type-var]
