"""Fault 35: a cancel against the finish of the same execution, from both ends of the locks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from django_progress.models import Attempt, Process
from django_progress.status import Status
from django_progress.sweep import sweep
from tests.executing import claim, fresh, settle, start
from tests.faults.test_races import PATIENCE, ROUNDS
from tests.races.threads import all_together, tried

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def test_fault_35_a_cancel_against_the_finish() -> None:
    """Who finishes locks the process and then its attempt; who cancels goes to the attempt first.

    A transaction of the caller's can't be repeated by us. So of two cancels at once neither
    is in one here: MariaDB may give one of them up, and that is then the caller's to repeat.
    """
    for number in range(ROUNDS):
        process = start(max_attempts=2)
        executing = claim(process)
        viewer = fresh(process)

        in_atomic = bool(number % 2)

        def cancel(viewer: Process = viewer, force: bool = number % 3 == 0, in_atomic: bool = in_atomic) -> str:
            with transaction.atomic() if in_atomic else nullcontext():
                return tried(partial(viewer.cancel, force=force))

        bodies: list[Callable[[Process], Any]] = [lambda p: "result", lambda p: p.requeue(), lambda p: p.fail("x")]
        other = sweep if in_atomic else partial(tried, fresh(process).cancel)
        all_together(partial(settle, executing, bodies[number % 3]), cancel, other, sweep)


def test_fault_35_each_holds_what_the_other_wants() -> None:
    """The finish has the process and wants its attempt, the cancel has the attempt and would like the process."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database has one writer at a time.")
    process = start()
    executing = claim(process)
    viewer = fresh(process)
    has_process, has_attempt = threading.Event(), threading.Event()

    def after(table: str, holds: threading.Event) -> Callable[..., Any]:
        def execute(run: Callable[..., Any], sql: str, *args: Any) -> Any:
            result = run(sql, *args)
            if f"UPDATE {connection.ops.quote_name(table)}" in sql and not holds.is_set():
                holds.set()
                assert has_attempt.wait(PATIENCE)
            return result

        return execute

    def finish() -> None:
        with connection.execute_wrapper(after(Process._meta.db_table, has_process)):
            settle(executing, lambda p: "result")

    def cancel() -> bool:
        assert has_process.wait(PATIENCE)
        with connection.execute_wrapper(after(Attempt._meta.db_table, has_attempt)), transaction.atomic():
            return viewer.cancel()

    assert all_together(finish, cancel) == [None, False]
    row = fresh(process)
    assert (row.status, row.event_set.get(type="succeeded").details) == (Status.SUCCEEDED, {"cancel_requested": True})
