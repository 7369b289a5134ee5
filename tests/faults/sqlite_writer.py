"""A program that writes to SQLite databases as fast as it can, and counts how often it was told "locked".

``python -m tests.faults.sqlite_writer``: says that it is ready, takes jobs as lines of JSON, and answers each with its
counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any


def main() -> None:
    import django

    django.setup()
    answer("ready")
    for line in sys.stdin:
        answer(write(**json.loads(line)))


def answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def write(file: str, options: dict[str, Any], rounds: int) -> dict[str, int]:
    """Do the job: use ``file`` with those options of Django's."""
    from django.db import OperationalError, connection

    connection.close()
    connection.settings_dict.update(NAME=file, OPTIONS=options)
    counts = {"done": 0, "locked": 0}
    for number in range(rounds):
        for step in steps(number):
            try:
                step()
            except OperationalError as error:
                if "locked" not in str(error):
                    raise
                counts["locked"] += 1
            else:
                counts["done"] += 1
    connection.close()
    return counts


def steps(number: int) -> Iterator[Callable[[], Any]]:
    """What a site does: views start and look, bodies report to their own process and to a shared one, all sweep."""
    from functools import partial

    from django_progress import engines
    from django_progress.models import Process
    from django_progress.sweep import sweep
    from tests.executing import claim, settle, start
    from tests.unit.conftest import FakeEngine

    if number == 0:
        engines.register(FakeEngine())
    shared = Process.objects.get(kind="shared")

    def body(process: Process) -> None:
        process.set_progress(1, 2)
        process.set_message("Stage", "working")
        process.milestone("halfway")

    def run() -> None:
        settle(claim(start()), body)

    def quit_early() -> None:
        executing = claim(start())
        Process.objects.get(pk=executing.process_id).cancel()
        settle(executing, body)

    yield partial(shared.milestone, f"step-{number}")
    yield partial(shared.set_message, "Round", number)
    yield run
    yield partial(lambda: list(Process.objects.with_now()[:20]))
    yield quit_early
    yield sweep


if __name__ == "__main__":
    main()
