"""Settings of the tests and of the workers that they start.

``DJANGO_PROGRESS_TEST_DB``           ``sqlite`` (default), ``postgres`` or ``mariadb``
``DJANGO_PROGRESS_TEST_DB_NAME``      the database to use as it is, for the programs that a test starts
``DJANGO_PROGRESS_TEST_BROKER``       a broker URL, ``memory://`` by default
``DJANGO_PROGRESS_TEST_BROKER_OPTIONS``  its transport options, as JSON
``DJANGO_PROGRESS_TEST_QUEUE``        the queue, by default one for each run
``DJANGO_PROGRESS_TEST_SETTINGS``     the app's own settings, as JSON

Servers are found by the variables that their own clients read.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

env = os.environ.get

# Whatever the tests create is named after the process, so that two runs don't meet.
RUN = f"django_progress_test_{os.getpid()}"

DATABASE = env("DJANGO_PROGRESS_TEST_DB", "sqlite")
DATABASE_NAME = env("DJANGO_PROGRESS_TEST_DB_NAME")


def database() -> dict[str, Any]:
    match DATABASE:
        case "sqlite":
            return {
                "ENGINE": "django.db.backends.sqlite3",
                # Not ":memory:": a live server that is set up before the database would take that at its
                # word, and share one connection between threads.
                "NAME": DATABASE_NAME or str(Path(tempfile.gettempdir(), f"{RUN}_unused.sqlite3")),
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=wal",
                    "timeout": 20,
                },
                # A file, since threads and workers have to see the same data.
                "TEST": {"NAME": str(Path(tempfile.gettempdir(), f"{RUN}.sqlite3"))},
            }
        case "postgres":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": DATABASE_NAME or "postgres",
                "HOST": env("PGHOST", "127.0.0.1"),
                "PORT": env("PGPORT", "5432"),
                "USER": env("PGUSER", "postgres"),
                "PASSWORD": env("PGPASSWORD", ""),
                "OPTIONS": {"connect_timeout": 5},
                "TEST": {"NAME": RUN},
            }
        case "mariadb":
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": DATABASE_NAME or "mysql",
                "HOST": env("MYSQL_HOST", "127.0.0.1"),
                "PORT": env("MYSQL_TCP_PORT", "3306"),
                "USER": env("MYSQL_USER", "root"),
                "PASSWORD": env("MYSQL_PWD", ""),
                "OPTIONS": {
                    "charset": "utf8mb4",
                    "isolation_level": "read committed",
                    "connect_timeout": 5,
                },
                "TEST": {"NAME": RUN, "CHARSET": "utf8mb4"},
            }
    raise ValueError(f"DJANGO_PROGRESS_TEST_DB must be sqlite, postgres or mariadb, not {DATABASE!r}.")


DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "tests.urls"
LOGIN_URL = "/accounts/login/"
STATIC_URL = "/static/"
USE_TZ = True
# Hashing passwords well takes longer than most of the tests that log in.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_celery_results",
    "django_progress",
    "example_project.gallery",
    "tests.faults",
    "tests.travel",
    "tests.workflows",
]
MIDDLEWARE = [
    "tests.middleware.strict_policy",
    "tests.middleware.outage",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

CELERY_BROKER_URL = env("DJANGO_PROGRESS_TEST_BROKER", "memory://")
CELERY_BROKER_TRANSPORT_OPTIONS = json.loads(env("DJANGO_PROGRESS_TEST_BROKER_OPTIONS", "{}"))
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = env("DJANGO_PROGRESS_TEST_QUEUE", RUN)
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_RESULT_BACKEND = "django-db"
# Seconds after which Celery itself takes the task of a killed child for lost: ten, by default.
CELERY_WORKER_LOST_WAIT = 0.5

DJANGO_PROGRESS = json.loads(env("DJANGO_PROGRESS_TEST_SETTINGS", "{}"))
