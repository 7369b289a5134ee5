"""The Celery app of the tests, also of the workers that they start: ``celery -A tests.celery worker``."""

from __future__ import annotations

import os

from celery import Celery

from example_project.broker import use_whole_files

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

use_whole_files()

app = Celery("tests")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The current app is a thread's own; this is the one that other threads fall back on.
app.set_default()


@app.task
def add(x: int, y: int) -> int:
    """Prove that a worker works."""
    return x + y
