"""What is kept, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress import retention
from django_progress.models import Attempt, Event, Process, Step
from django_progress.retention import prune
from django_progress.sweep import sweep
from tests.executing import claim, execute, start
from tests.workflows.conftest import define
from tests.workflows.driving import drain

__all__ = ["define"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

DAY = 86400


def finished(days: float, **options: Any) -> Process:
    process = start(**options)
    execute(process, lambda p: p.milestone("x"))
    Process.objects.filter(pk=process.pk).update(finished_at=timezone.now() - timedelta(days=days))
    return process


def test_old_ones_go_with_all_that_is_theirs() -> None:
    kept = finished(29)
    for _ in range(3):
        finished(31)
    waiting, running = start(), start()
    claim(running)
    Process.objects.filter(pk__in=[waiting.pk, running.pk]).update(created_at=timezone.now() - timedelta(days=90))
    assert prune() == 3
    assert set(Process.objects.all()) == {kept, waiting, running}
    assert Event.objects.count() == 4 + 1 + 2
    assert Attempt.objects.count() == 2
    assert prune() == 0


def test_zero_keeps_everything(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"KEEP_FINISHED": 0}
    finished(10_000)
    assert prune() == 0
    assert prune(0) == 1  # unless it is asked for


def test_a_retry_outlives_what_it_retried() -> None:
    old = finished(31)
    child = old.retry()
    assert prune() == 1
    child = Process.objects.get(pk=child.pk)
    assert child.retry_of is None


def test_rows_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        finished(31)
    with CaptureQueriesContext(connection) as queries:
        assert prune(batch=3) == 7
    deleted = [query["sql"] for query in queries if query["sql"].startswith("DELETE") and "process" in query["sql"]]
    assert len(deleted) >= 3


def test_many_events_go_in_batches() -> None:
    process = finished(31)
    Event.objects.bulk_create(
        Event(process=process, seq=seq, type="log", happened_at=timezone.now()) for seq in range(100, 125)
    )
    with CaptureQueriesContext(connection) as queries:
        retention._delete_events("default", process.pk, batch=10)
    assert sum(query["sql"].startswith("DELETE") for query in queries) == 2
    assert 0 < Event.objects.count() <= 10
    assert prune() == 1
    assert not Event.objects.exists()


def test_command(capsys: pytest.CaptureFixture[str], settings: Any) -> None:
    finished(10)
    call_command("progress_prune")
    assert capsys.readouterr().out == "0 removed\n"
    call_command("progress_prune", days=9)
    assert capsys.readouterr().out == "1 removed\n"
    with pytest.raises(CommandError, match="negative"):
        call_command("progress_prune", days=-1)
    settings.DJANGO_PROGRESS = {"KEEP_FINISHED": 0}
    with pytest.raises(CommandError, match="--days"):
        call_command("progress_prune")


@pytest.mark.parametrize("older_than", [-5, float("nan"), float("-inf")])
def test_an_age_that_makes_no_sense_deletes_nothing(older_than: float) -> None:
    process = finished(40)
    with pytest.raises(ValueError, match="older_than"):
        prune(older_than)
    assert Process.objects.filter(pk=process.pk).exists()


# -- kept for less, or for longer --------------------------------------------------------


def later(process: Process, seconds: float) -> None:
    """Let so much time pass for a process that has ended."""
    row = Process.objects.get(pk=process.pk)
    assert row.remove_at is not None
    assert row.finished_at is not None
    moved = timedelta(seconds=seconds)
    Process.objects.filter(pk=row.pk).update(remove_at=row.remove_at - moved, finished_at=row.finished_at - moved)


def test_what_is_to_be_gone_soon_is_kept_while_pages_lead_on() -> None:
    process = start(keep_finished=0)
    sweep()
    process.succeed()
    assert not sweep()["removed"]
    later(process, 59)
    assert not sweep()["removed"]
    later(process, 2)
    assert sweep()["removed"] == 1
    assert not Process.objects.exists()
    assert not sweep()["removed"]


def test_what_is_kept_for_longer_is(settings: Any) -> None:
    process = start(keep_finished=timedelta(days=90))
    process.fail("No.")
    again = process.retry()
    assert again.keep_finished == 90 * DAY
    later(process, 40 * DAY)
    assert prune() == 0
    later(process, 51 * DAY)
    settings.DJANGO_PROGRESS = {"KEEP_FINISHED": 0}
    assert prune() == 1


def test_a_workflow_goes_with_its_steps(define: Any) -> None:
    workflow = define(keep_finished=60)
    workflow.step(name="a")(lambda step: 1)
    process = drain(workflow.start())
    later(process, 61)
    assert sweep()["removed"] == 1
    assert not Process.objects.exists()
    assert not Step.objects.exists()


def test_wide_workflows_go_one_after_another(define: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: those of one sweep have no more steps than can be in memory."""
    monkeypatch.setattr(retention, "STEPS", 5)
    workflow = define(keep_finished=60)
    workflow.step(name="load", each=lambda results: [1, 2, 3])(lambda step, item: item)
    for _ in range(3):
        later(drain(workflow.start()), 61)
    small = start(keep_finished=60)
    small.succeed()
    later(small, 61)
    assert [sweep()["removed"] for _ in range(2)] == [1, 1]
    assert Process.objects.whole().count() == 2
    assert prune() == 2
    assert not Process.objects.exists()


def test_how_long_must_make_sense() -> None:
    with pytest.raises(ValueError, match="keep_finished"):
        start(keep_finished=-1)
