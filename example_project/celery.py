"""The project's Celery app: ``celery -A example_project worker``."""

import os

from celery import Celery

from .broker import use_whole_files

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

use_whole_files()

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The current app is a thread's own; this is the one that the server's other threads fall back on.
app.set_default()
