"""What the views of docs/api.md start."""

from __future__ import annotations

import time
from typing import Any

from django_progress.models import Process
from django_progress.tasks import progress_task

STEPS = 20


@progress_task(description="Importing your rows…", kind="import", name="tests.api.import_rows")
def import_rows(process: Process, rows: list[str]) -> dict[str, Any]:
    for number in range(STEPS):
        process.milestone(f"step{number}", f"Step {number}")
        time.sleep(0.05)
    if "broken" in rows:
        process.fail("That row is broken.")
    return {"imported": len(rows)}
