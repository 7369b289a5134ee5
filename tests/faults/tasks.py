"""Bodies for faults: they note what they do where no fault reaches, and wait for the test to let them go on."""

from __future__ import annotations

import os

from django_progress.models import Process
from django_progress.tasks import progress_task
from tests.faults.journal import Journal


def body(process: Process, journal: str) -> str:
    """Begin, wait at the gate of this execution, reach a milestone, end; and note each of it."""
    notes, execution = Journal(journal), process.executions
    notes.add("began", execution, os.getpid())
    try:
        notes.wait_at_gate(execution)
        process.milestone(f"execution-{execution}")
    except BaseException as reason:
        notes.add("stopped", execution, type(reason).__name__)
        raise
    notes.add("ended", execution, os.getpid())
    return "done"


work = progress_task(name="faults.work")(body)
"""Acknowledged when it begins, as Celery does unless it is told otherwise."""

work_late = progress_task(name="faults.work_late", acks_late=True)(body)
"""Acknowledged when it has ended, even if its child was killed."""

work_returned = progress_task(name="faults.work_returned", acks_late=True, reject_on_worker_lost=True)(body)
"""Acknowledged when it has ended; returned to the broker when its child is killed."""

work_unrecorded = progress_task(name="faults.work_unrecorded", ignore_result=True)(body)


@progress_task(name="faults.failing", max_attempts=2, retry_delay=7200)
def failing(process: Process, journal: str) -> None:
    Journal(journal).add("began", process.executions, os.getpid())
    raise ConnectionError("not today")


@progress_task(name="faults.silent")
def silent(process: Process, journal: str) -> str:
    """Wait at the gate, and report nothing before the end."""
    notes = Journal(journal)
    notes.add("began", process.executions, os.getpid())
    notes.wait_at_gate(process.executions)
    return "done"
