"""That the hot questions are answered from an index, with five thousand rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from django_progress.history import newest_successes
from django_progress.models import Attempt, Event, Process, Step
from django_progress.status import TERMINAL, Outcome, Status, StepStatus
from django_progress.views.steps import StepTree

pytestmark = pytest.mark.django_db

ROWS = 5_000
OUTCOMES = [outcome for outcome in Outcome.values if outcome]


@pytest.fixture(scope="module")
def many(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Mostly finished ones of many owners, as after some weeks; committed once for this module."""
    with django_db_blocker.unblock():
        _fill()
        try:
            yield
        finally:
            Step.objects.all()._raw_delete("default")
            Event.objects.all()._raw_delete("default")
            Attempt.objects.all()._raw_delete("default")
            Process.objects.all()._raw_delete("default")
            User.objects.filter(username__startswith="owner").delete()


@transaction.atomic
def _fill() -> None:
    now = timezone.now()
    owners = [User.objects.create(username=f"owner{number}") for number in range(500)]
    processes = []
    for number in range(ROWS):
        status = TERMINAL[number % len(TERMINAL)]
        if number % 100 == 0:
            status = Status.PENDING
        elif number % 100 == 1:
            status = Status.RUNNING
        begun = now - timedelta(minutes=ROWS - number)
        processes.append(
            Process(
                owner=owners[number * 7 % 500], kind="x", description=f"Process {number}", status=status,
                created_at=begun, updated_at=begun, finished_at=begun if status in TERMINAL else None,
                due_at=now + timedelta(seconds=number) if status == Status.PENDING else None,
                expires_at=begun + timedelta(days=30), task_name="x", last_seq=5, revision=5,
                attempt_token=uuid4().hex if status == Status.RUNNING else "",
            )
        )  # fmt: skip
    Process.objects.bulk_create(processes, batch_size=500)
    rows = list(Process.objects.order_by("pk"))
    Event.objects.bulk_create(
        [Event(process=row, seq=seq, type="log", happened_at=now) for row in rows for seq in range(1, 4)],
        batch_size=2_000,
    )
    Attempt.objects.bulk_create(
        [
            Attempt(
                process=row, number=1, attempt_number=1, token=row.attempt_token or uuid4().hex, started_at=now,
                lease_until=now + timedelta(seconds=60), timeout_at=now + timedelta(hours=1),
                outcome="" if row.status == Status.RUNNING else OUTCOMES[row.pk % len(OUTCOMES)],
                finished_at=None if row.status == Status.RUNNING else now,
            )
            for row in rows
        ],
        batch_size=1_000,
    )  # fmt: skip
    planned = [Step(process=rows[0], path=f"#.s{number}", name="s", position=number) for number in range(10)]
    parts = [
        Step(
            process=rows[0], path=f"#.s1[{number}]", name="s", parent_path="#.s1", position=1, index=number,
            status=StepStatus.RUNNING if number % 500 == 0 else StepStatus.SUCCEEDED,
        )
        for number in range(ROWS)
    ]  # fmt: skip
    Step.objects.bulk_create([*planned, *parts], batch_size=1_000)
    with connection.cursor() as cursor:
        for model in (Process, Event, Attempt, Step):
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"ANALYZE TABLE {table}" if connection.vendor == "mysql" else f"ANALYZE {table}")


def plan(rows: QuerySet[Any]) -> str:
    return rows.explain()


@pytest.mark.usefixtures("many")
class TestPlans:
    def test_my_processes_newest_first(self) -> None:
        owner = User.objects.get(username="owner7")
        newest = Process.objects.owned_by(owner).newest_first()
        assert "dp_process_mine" in plan(newest[:25])
        middle = newest[5].pk
        assert "dp_process_mine" in plan(newest.filter(pk__lt=middle)[:25])

    def test_active_ones_past_their_deadline(self) -> None:
        assert "dp_process_deadline" in plan(Process.objects.overdue().order_by("expires_at")[:200])

    def test_silent_attempts(self) -> None:
        assert "dp_attempt_executing" in plan(Attempt.objects.silent().order_by("lease_until")[:200])
        assert "dp_attempt_executing" in plan(Attempt.objects.timed_out().order_by("lease_until")[:200])

    def test_pending_ones_that_are_due(self) -> None:
        assert "dp_process_due" in plan(Process.objects.due().order_by("due_at")[:200])

    def test_events_after_a_number(self) -> None:
        process = Process.objects.order_by("pk")[ROWS // 2]
        # SQLite names the index of a constraint itself; the two conditions it looks up tell which it is.
        index = "(process_id=? AND seq>?)" if connection.vendor == "sqlite" else "dp_event_seq"
        assert index in plan(Event.objects.filter(process=process).after(1)[:100])

    def test_finished_ones_by_age(self) -> None:
        old = Process.objects.finished().filter(finished_at__lte=timezone.now() - timedelta(days=30))
        assert "dp_process_age" in plan(old.order_by("finished_at").values("pk")[:500])

    def test_the_newest_successes_of_a_sort(self) -> None:
        rare = Process.objects.order_by("pk")[3]
        for process in (rare, Process(task_name="y", kind="x"), Process(task_name="", kind="y")):
            assert "dp_process_usual" in plan(newest_successes(process))

    def test_the_few_steps_among_thousands_of_parts(self) -> None:
        workflow = Process.objects.order_by("pk")[0]
        assert "dp_step_planned" in plan(workflow.steps.planned().order_by("position")[:500])
        tree = StepTree(workflow, is_active=True, is_linked=False)
        for status in (StepStatus.RUNNING, StepStatus.FAILED):
            assert "dp_step_active" in plan(tree._parts(status))

    def test_the_plan_is_read(self) -> None:
        # What isn't indexed shows no index of ours.
        assert "dp_" not in plan(Process.objects.filter(description="Process 5"))
