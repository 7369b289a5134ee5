"""Fault 34: the database gives one of two transactions up. What is ours is done again; what is the caller's is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, transaction

from django_progress.clock import DatabaseNow
from django_progress.execution import Execution
from django_progress.models import Attempt, Process
from django_progress.status import Status
from tests.executing import claim, fresh, inside, last_attempt, settle, start, types
from tests.races.threads import all_together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

PATIENCE = 60
VERBS: dict[str, Callable[[Process], Any]] = {
    "milestone": lambda process: process.milestone("one"),
    "set_message": lambda process: process.set_message("Stage", "one"),
    "log": lambda process: process.log("one"),
    "set_progress": lambda process: process.set_progress(1, 2),
    "succeed": lambda process: process.succeed(),
}
mariadb = pytest.mark.mariadb


@contextmanager
def noticed(codes: list[Any], then: Callable[[], Any] = lambda: None) -> Iterator[None]:
    """Note the code of each error that the server answers on this connection."""

    def execute(run: Callable[..., Any], *args: Any) -> Any:
        try:
            return run(*args)
        except OperationalError as error:
            codes.append(getattr(error.__cause__, "sqlstate", None) or error.args[0])
            then()
            raise

    with connection.execute_wrapper(execute):
        yield


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@mariadb
@pytest.mark.parametrize("verb", VERBS)
def test_fault_34_1205_a_row_that_somebody_holds_for_too_long(verb: str) -> None:
    process = start()
    executing = claim(process)
    held, timed_out = threading.Event(), threading.Event()
    codes: list[Any] = []

    def hold() -> None:
        with transaction.atomic():
            Process.objects.select_for_update().get(pk=process.pk)
            held.set()
            assert timed_out.wait(PATIENCE)

    def report() -> None:
        run("SET SESSION innodb_lock_wait_timeout = 1")
        assert held.wait(PATIENCE)
        with noticed(codes, timed_out.set), inside(executing) as mine:
            VERBS[verb](mine)

    all_together(hold, report)
    assert set(codes) == {1205}
    assert fresh(process).revision == process.revision + 2  # the claim's, and this one


def changed_between(process: Process) -> Callable[..., Any]:
    """Read the row just before the first UPDATE of it, and have somebody else change it then."""
    done: list[str] = []

    def execute(run_it: Callable[..., Any], sql: str, *args: Any) -> Any:
        table = connection.ops.quote_name(Process._meta.db_table)
        if sql.startswith(f"UPDATE {table}") and not done:
            done.append(sql)
            fresh(process)
            all_together(partial(Process.objects.filter(pk=process.pk).update, unit="rows"))
        return run_it(sql, *args)

    return execute


@mariadb
@pytest.mark.parametrize("verb", ["milestone", "log", "succeed"])
def test_fault_34_1020_a_row_that_has_changed_since_it_was_read(verb: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        if cursor.fetchone() is None:
            pytest.skip("This MariaDB has no such error.")
    process = start()
    executing = claim(process)
    codes: list[Any] = []
    run("SET SESSION innodb_snapshot_isolation = ON", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        with connection.execute_wrapper(changed_between(process)), noticed(codes), inside(executing) as mine:
            VERBS[verb](mine)
    finally:
        connection.close()
    assert codes == [1020]
    row = fresh(process)
    assert (row.unit, row.last_seq) == ("rows", 3)


DEADLOCK = {"mysql": 1213, "postgresql": "40P01"}


def cross(executing: Execution, ours: Callable[[], Any], codes: list[Any]) -> None:
    """Hold the attempt and want the process, while ``ours`` holds the process and wants the attempt."""
    has_process, has_attempt = threading.Event(), threading.Event()
    table = f"UPDATE {connection.ops.quote_name(Process._meta.db_table)}"

    def execute(run_it: Callable[..., Any], sql: str, *args: Any) -> Any:
        result = run_it(sql, *args)
        if table in sql and not has_process.is_set():
            has_process.set()
            assert has_attempt.wait(PATIENCE)
        return result

    def other() -> None:
        with transaction.atomic():
            # The transaction that has done less is the one that MariaDB gives up.
            Group.objects.bulk_create([Group(name=f"group {number}") for number in range(200)])
            assert has_process.wait(PATIENCE)
            Attempt.objects.filter(token=executing.token).update(doubted_at=DatabaseNow())
            has_attempt.set()
            Process.objects.filter(pk=executing.process_id).update(unit="rows")

    def mine() -> None:
        # PostgreSQL gives up the one that looks first.
        run({"mysql": "SELECT 1", "postgresql": "SET deadlock_timeout = '50ms'"}[connection.vendor])
        with connection.execute_wrapper(execute), noticed(codes):
            ours()

    all_together(mine, other)


@pytest.fixture
def deadlocks() -> None:
    if connection.vendor not in DEADLOCK:
        pytest.skip("This database has one writer at a time.")


@pytest.mark.usefixtures("deadlocks")
@pytest.mark.parametrize("end", ["return", "requeue", "raise"])
def test_fault_34_1213_a_deadlock(end: str) -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    codes: list[Any] = []

    def body(process: Process) -> str | None:
        if end == "raise":
            raise RuntimeError
        return process.requeue() if end == "requeue" else "done"

    cross(executing, partial(settle, executing, body), codes)
    assert codes == [DEADLOCK[connection.vendor]]
    row = fresh(process)
    assert row.status == (Status.SUCCEEDED if end == "return" else Status.PENDING)
    assert row.unit == "rows"
    assert row.last_seq == 3
    assert last_attempt(process).outcome == {"return": "succeeded", "requeue": "requeued", "raise": "failed"}[end]


@pytest.mark.usefixtures("deadlocks")
def test_fault_34_1213_in_the_callers_transaction_is_the_callers() -> None:
    """Its whole transaction is gone, so nothing of it is repeated, and nothing half is left."""
    process = start()
    executing = claim(process)
    codes: list[Any] = []

    def ours() -> None:
        with transaction.atomic(), inside(executing) as mine:
            mine.milestone("gone")
            mine.succeed("gone too")

    def caller() -> None:
        with pytest.raises(OperationalError):
            ours()

    cross(executing, caller, codes)
    assert codes[0] == DEADLOCK[connection.vendor]  # MariaDB misses Django's savepoints then
    assert types(process) == ["milestone", "attempt"]
    assert (fresh(process).status, fresh(process).result) == (Status.RUNNING, None)
    # The body may go on, and end.
    settle(executing, lambda p: p.milestone("again"))
    assert fresh(process).status == Status.SUCCEEDED
