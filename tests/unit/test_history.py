"""How long such processes have usually taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import history
from django_progress.history import usual_duration
from django_progress.models import Process
from django_progress.responses import retry_after
from django_progress.status import Status

pytestmark = pytest.mark.django_db

Lived = Callable[..., None]


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    history.forget()
    yield
    history.forget()


@pytest.fixture
def lived() -> Lived:
    """Write down processes that have ended, each after one of these numbers of seconds; the last is the newest."""

    def lived(*seconds: float, status: str = Status.SUCCEEDED, **row: Any) -> None:
        now = timezone.now()
        for number, took in enumerate(seconds):
            end = now - timedelta(hours=len(seconds) - number)
            begin = end - timedelta(seconds=took)
            row = {"kind": "import", "task_name": "shop.imports", **row}
            Process.objects.create(status=status, created_at=begin, updated_at=end, finished_at=end, **row)

    return lived


def running(age: float = 0, **row: Any) -> Process:
    now = timezone.now() - timedelta(seconds=age)
    row = {"kind": "import", "task_name": "shop.imports", **row}
    made = Process.objects.create(status=Status.PENDING, created_at=now, updated_at=now, **row)
    return Process.objects.with_now().get(pk=made.pk)


def test_the_median_of_the_newest_twenty(lived: Lived) -> None:
    lived(*[1000] * 30, *[8] * 9, *[12] * 11)
    assert usual_duration(running()) == pytest.approx(12)


def test_one_that_took_very_long_changes_little(lived: Lived) -> None:
    lived(10, 100_000, 11)
    assert usual_duration(running()) == pytest.approx(11)


def test_two_are_no_habit(lived: Lived) -> None:
    lived(10, 10)
    assert usual_duration(running()) is None


def test_only_those_of_the_same_task_and_kind_that_succeeded_count(lived: Lived) -> None:
    lived(10, 10, 10)
    lived(99, 99, 99, status=Status.FAILED)
    lived(99, 99, 99, kind="export")
    lived(99, 99, 99, task_name="shop.exports")
    assert usual_duration(running()) == pytest.approx(10)
    assert usual_duration(running(kind="other")) is None


def test_what_has_neither_task_nor_kind_is_of_no_sort(lived: Lived) -> None:
    lived(10, 10, 10, kind="", task_name="")
    with CaptureQueriesContext(connection) as asked:
        assert usual_duration(running(kind="", task_name="")) is None
    assert not [query for query in asked if "finished_at" in query["sql"].partition("WHERE")[2]]


def test_it_is_asked_for_once_in_a_while(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    process = running()
    lived(10, 10, 10)
    with CaptureQueriesContext(connection) as asked:
        usual_duration(process)
    assert len(asked) == 1
    lived(50, 50, 50, 50)
    with CaptureQueriesContext(connection) as asked:
        assert usual_duration(process) == pytest.approx(10)
    assert len(asked) == 0
    now = history.time.monotonic()
    monkeypatch.setattr(history.time, "monotonic", lambda: now + history.FRESH)
    assert usual_duration(process) == pytest.approx(50)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 3)
    for number in range(10):
        usual_duration(running(kind=f"kind {number}"))
    assert len(history._known) == 3


@pytest.mark.parametrize(
    ("usual", "age", "after"),
    [
        (None, 0, 1),
        (None, 70, 5),
        (12, 0, 12),  # all of it is ahead
        (12, 7, 5),  # what is left of it
        (12, 11.5, 2),  # not less than pages wait
        (12, 100, 5),  # longer than usual
        (3600, 0, 30),  # not more than half a minute
    ],
)
def test_retry_after_is_the_rest_of_the_usual_time(lived: Lived, usual: float | None, age: float, after: int) -> None:
    if usual is not None:
        lived(*[usual] * 5)
    process = running(age)
    assert retry_after(process, process.snapshot()) == str(after)


def test_slow_polls_stay_slow(lived: Lived, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"POLL_INTERVALS": (45, 45, 45)}
    lived(*[10] * 5)
    process = running()
    assert retry_after(process, process.snapshot()) == "45"
