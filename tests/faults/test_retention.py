"""Fault 38: old processes are purged, one of them with 100,000 events."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from django_progress.clock import DatabaseNow
from django_progress.models import Attempt, Event, Process
from django_progress.retention import prune
from tests.executing import claim, execute, fresh, start
from tests.races.threads import together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

MANY = 100_000
AT_A_TIME = 5_000
MEGABYTES = 8
"""Less than one object for each event would take."""


class Deletions:
    """Notes how many rows each DELETE took; raises when it is told to."""

    def __init__(self, fails_at: int = 0) -> None:
        self.rows: list[int] = []
        self.fails_at = fails_at

    def __call__(self, run: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not sql.startswith("DELETE"):
            return run(sql, params, many, context)
        if self.fails_at and len(self.rows) + 1 == self.fails_at:
            raise KeyboardInterrupt
        result = run(sql, params, many, context)
        self.rows.append(context["cursor"].rowcount)
        return result


def fill(process: Process) -> None:
    """Give it events up to 100,000, in few statements."""
    table = connection.ops.quote_name(Event._meta.db_table)
    columns = "process_id, type, name, message, translatable, details, happened_at"
    last = process.last_seq
    with connection.cursor() as cursor:
        while last < MANY:
            cursor.execute(
                f"INSERT INTO {table} ({columns}, seq) SELECT process_id, 'log', '', 'a line', translatable, NULL,"
                f" happened_at, seq + %s FROM {table} WHERE process_id = %s AND seq <= %s",
                [last, process.pk, MANY - last],
            )
            last = min(MANY, 2 * last)
    Process.objects.filter(pk=process.pk).update(last_seq=last, revision=last)


def finish(process: Process) -> None:
    """End it long ago."""
    Process.objects.filter(pk=process.pk).update(last_seq=MANY, revision=MANY)
    fresh(process).succeed()
    Process.objects.filter(pk=process.pk).update(finished_at=DatabaseNow(-7200))


def test_fault_38_a_purge_takes_100_000_events_in_batches_and_keeps_what_is_active() -> None:
    old, active, recent = (Process.objects.start(name) for name in ("old", "active", "recent"))
    fill(old)
    finish(old)
    waiting = start()
    recent.succeed()
    executing = claim(start())
    deletions = Deletions()
    tracemalloc.start()
    try:
        with connection.execute_wrapper(deletions):
            assert prune(3600) == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(deletions.rows) <= AT_A_TIME
    assert sum(deletions.rows) >= MANY + 2
    assert len(deletions.rows) <= MANY / AT_A_TIME + 10
    assert peak < MEGABYTES * 2**20
    assert not Event.objects.filter(process_id=old.pk).exists()
    kept = {active.pk, waiting.pk, recent.pk, executing.process_id}
    assert set(Process.objects.values_list("pk", flat=True)) == kept


def test_fault_38_a_purge_that_is_stopped_leaves_no_hole_and_is_taken_up() -> None:
    old = Process.objects.start("old")
    fill(old)
    finish(old)
    with pytest.raises(KeyboardInterrupt), connection.execute_wrapper(Deletions(fails_at=6)):
        prune(3600)
    left = Event.objects.filter(process=old)
    first = left.order_by("seq").values_list("seq", flat=True)[0]
    assert first > 1
    assert left.count() == MANY + 1 - first + 1
    assert fresh(old).status == "succeeded"
    assert prune(3600) == 1
    assert not Event.objects.exists()


def test_fault_38_two_purges_at_once() -> None:
    for _ in range(3):
        old = [start() for _ in range(20)]
        for process in old:
            execute(process, lambda p: p.log("a line"))
        Process.objects.update(finished_at=DatabaseNow(-7200))
        assert sum(together(3, lambda number: prune(3600, batch=3))) == len(old)
        assert not any(model.objects.exists() for model in (Process, Event, Attempt))
