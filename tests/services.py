"""What some tests need beside Python: where it is, and whether it is there."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import cache
from typing import NoReturn

import pytest
from django.conf import settings

REDIS_URL = os.environ.get("DJANGO_PROGRESS_TEST_REDIS", "redis://127.0.0.1:6379/1")
RABBITMQ_URL = os.environ.get("DJANGO_PROGRESS_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")

# Seconds that a service has to answer before it counts as missing.
PATIENCE = 2


def find_chromium() -> str | None:
    """Return the path of a Chromium, of ``DJANGO_PROGRESS_CHROMIUM`` if that is set."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("DJANGO_PROGRESS_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def _redis() -> str:
    try:
        import redis

        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE) as client:
            client.ping()
    except Exception as error:
        return f"no Redis at {REDIS_URL}: {error}"
    return ""


def _rabbitmq() -> str:
    from kombu import Connection

    options = {"read_timeout": PATIENCE, "write_timeout": PATIENCE, "max_retries": 0}
    try:
        with Connection(RABBITMQ_URL, connect_timeout=PATIENCE, transport_options=options) as connection:
            connection.connect()
    except Exception as error:
        return f"no RabbitMQ at {RABBITMQ_URL}: {error}"
    return ""


def _browser() -> str:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    path = find_chromium()
    if path is None:
        return "no Chromium on the PATH, and DJANGO_PROGRESS_CHROMIUM is not set"
    if shutil.which(path) is None:
        return f"DJANGO_PROGRESS_CHROMIUM is {path}, which is not a program"
    return ""


_PROBES: dict[str, Callable[[], str]] = {"redis": _redis, "rabbitmq": _rabbitmq, "browser": _browser}
DATABASES = ("postgres", "mariadb")
NAMES = (*_PROBES, *DATABASES)


@cache
def missing(name: str) -> str:
    """Return why ``name`` can't be used, or nothing if it can. Asked once in a session."""
    return _PROBES[name]()


def required() -> frozenset[str]:
    """Return what ``DJANGO_PROGRESS_REQUIRE`` says must not be missing."""
    names = frozenset(filter(None, os.environ.get("DJANGO_PROGRESS_REQUIRE", "").replace(" ", "").split(",")))
    if unknown := names.difference(NAMES):
        wrong, known = ", ".join(sorted(unknown)), ", ".join(NAMES)
        raise pytest.UsageError(f"DJANGO_PROGRESS_REQUIRE names {wrong}; known are {known}.")
    return names


def require(name: str) -> None:
    """Skip the test that calls this if ``name`` is missing; fail it if it must not be."""
    if name in DATABASES:
        # The other database's tests belong to another run; if this run's is unreachable, every test says so.
        if name != settings.DATABASE:
            pytest.skip(f"runs where DJANGO_PROGRESS_TEST_DB={name}")
    elif reason := missing(name):
        miss(name, reason)


def miss(name: str, reason: str) -> NoReturn:
    """Skip the test that calls this because ``name`` is missing; fail it if it must not be."""
    if name in required():
        pytest.fail(f"{reason} (required by DJANGO_PROGRESS_REQUIRE)", pytrace=False)
    pytest.skip(reason)
