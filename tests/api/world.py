"""Processes in every status, and those who ask about them."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_progress import sharing
from django_progress.models import Process
from django_progress.status import Status
from django_progress.tasks import progress_task
from django_progress.workflows import Workflow

__all__ = ["cookies_of", "every_process", "imports"]

TOKEN = "t" * 32


pipeline = Workflow("tests-pipeline", description="Pipeline")


@pipeline.step(each=lambda results: ["a", "b"])
def read(step: Process, item: str) -> str:
    if item == "b" and step.parent is not None and step.parent.context:
        raise ValueError("secret")
    return item


@read.step
def sort(step: Process, results: Any) -> list[str]:
    return sorted(results["read"])


def run(process: Process) -> None:
    """Execute the steps of a workflow, as far as they go."""
    from tests.workflows.driving import drain

    drain(process)


@progress_task(description=_("Import rows"), kind="import", name="tests.api.imports", max_attempts=3)
def imports(process: Process, rows: int = 0) -> None: ...


def every_process(owner: User, other: User) -> list[Process]:
    """Return processes of ``owner`` in every status, in all their shapes, and such as ``other`` may see at most."""
    made: dict[str, Process] = {}
    numbers = itertools.count()

    def start(name: str, *, by: User = owner, task: bool = False, **row: Any) -> Process:
        options = {"task": imports, "kwargs": {"rows": next(numbers)}} if task else {}
        process = Process.objects.start(f"Work: {name}", owner=by, **options)
        if row:
            Process.objects.filter(pk=process.pk).update(**row)
            process.refresh_from_db()
        made[name] = process
        return process

    def attempt(process: Process, **row: Any) -> None:
        lease = timezone.now() + timedelta(seconds=60)
        process.attempt_set.create(
            **{"number": 1, "attempt_number": 1, "token": TOKEN[:-2] + f"{process.pk:02}"[-2:], "lease_until": lease,
               "started_at": process.created_at, **row}
        )  # fmt: skip
        Process.objects.filter(pk=process.pk).update(
            status=Status.RUNNING, attempt_token=TOKEN[:-2] + f"{process.pk:02}"[-2:], attempt_number=1
        )

    now = timezone.now()
    start("pending", task=True)
    start("pending, later", task=True, next_attempt_at=now + timedelta(hours=2), attempt_number=1)
    again = start("pending, again", task=True, attempt_number=1)
    again.attempt_set.create(
        number=1, attempt_number=1, token="u" * 32, started_at=now, finished_at=now, outcome="lost", error="Lost."
    )
    attempt(start("running", task=True))
    attempt(start("running, silent", task=True), lease_until=now - timedelta(seconds=5))
    attempt(start("running, stopping", task=True), cancel_requested_at=now)
    busy = start("running, without a task", max_duration=3600)
    busy.milestone("read", _("Reading %(count)s rows"), details={"count": 3})
    busy.set_progress(42.5, 100, "rows")
    busy.set_message("Stage", "<b>\N{SNOWMAN}</b>")
    busy.set_result({"so far": [1, None, "\N{SNOWMAN}"]})
    Process.objects.filter(pk=busy.pk).update(rate=3.5, samples=5)
    start("running, unknown total", current=10**15, total=None)
    many = start("running, many events")
    for number in range(150):
        many.log(f"line {number}")
    purged = start("running, purged")
    for number in range(20):
        purged.log(f"line {number}")
    purged.event_set.filter(seq__lte=15).delete()
    start("overdue", expires_at=now - timedelta(seconds=1), max_duration=1.0)
    for result in (None, 0, "text", ["list"], {"a": {"b": [1.5]}}):
        start(f"succeeded: {result}").succeed(result)
    start("failed", task=True).fail(ValueError("secret"))
    start("failed in words").fail("No seats left.")
    start("cancelled", task=True).cancel(by=owner)
    retried = start("retried", task=True)
    retried.fail("It was empty.")
    made["retry"] = retried.retry(by=owner)
    for name in ("shared", "shared, failed"):
        sharing.share(start(name, by=other, task=name != "shared"), owner, by=other)
    made["shared, failed"].fail("No seats left.")
    start("of somebody else", by=other)
    for name, context in (("workflow", {}), ("workflow, failed", {"fails": True}), ("workflow, running", {})):
        made[name] = pipeline.using(context=context).start(owner)
        if "running" not in name:
            run(made[name])
    return list(made.values())


def cookies_of(user: User | None) -> dict[str, str]:
    """Return the cookies of a browser in which ``user`` has logged in."""
    client = Client()
    if user is not None:
        client.force_login(user)
    return {name: morsel.value for name, morsel in client.cookies.items()}
