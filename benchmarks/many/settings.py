"""The settings of the site and of its workers: those of the tests, the tasks of this folder, and the peer's address."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.many"]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("tests.")]
ROOT_URLCONF = "benchmarks.many.urls"
CELERY_TASK_IGNORE_RESULT = bool(os.environ.get("BENCHMARK_IGNORE_RESULT"))
