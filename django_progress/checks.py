"""System checks: what is wrong with a project's settings, and what to do about it."""

from __future__ import annotations

import difflib
import math
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string

from . import access, beside, conf
from .push import wakeups

__all__ = ["check_databases", "check_settings", "check_surroundings"]


@register("django_progress")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Check the names and the values in ``DJANGO_PROGRESS``."""
    given = getattr(django_settings, conf.NAME, None) or {}
    if not isinstance(given, dict):
        return [Error(f"{conf.NAME} must be a dict.", id="django_progress.E001")]
    found: list[CheckMessage] = []
    names = conf.Settings.names()
    for name, value in given.items():
        if name not in names:
            near = difflib.get_close_matches(str(name).upper(), names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(names)}."
            found.append(Error(f"{conf.NAME} has an unknown key {name!r}.", hint=hint, id="django_progress.E002"))
        elif wrong := _wrong(name, value):
            found.append(Error(f"{conf.NAME}[{name!r}] {wrong}, not {value!r}.", id="django_progress.E003"))
    return found or [*_check_leases(), *_check_wake_ups()]


def _check_leases() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for kind in ("", *conf.settings.KINDS):
        lease, beat = (conf.settings.of_kind(kind, name) for name in conf.OF_KIND)
        if lease < 3 * beat:
            of_kind = f" of kind {kind!r}" if kind else ""
            found.append(
                Warning(
                    f"{conf.NAME}: the LEASE{of_kind} is less than three times its HEARTBEAT: one late beat and a "
                    "healthy worker is taken for dead.",
                    hint="Raise LEASE or lower HEARTBEAT.",
                    id="django_progress.W001",
                )
            )
    return found


def _check_wake_ups() -> list[CheckMessage]:
    try:
        wakeups.configured()
    except ImproperlyConfigured as error:
        what, _, hint = str(error).partition("\n")
        return [Error(what, hint=hint, id="django_progress.E006")]
    return []


def _wrong(name: str, value: Any) -> str:
    default = conf.DEFAULTS[name]
    if isinstance(default, tuple):
        return _wrong_list(name, value)
    if isinstance(default, dict):
        return _wrong_kinds(value)
    if isinstance(default, str):
        if name == "ACCESS_POLICY":
            return _wrong_policy(value)
        if name == "HTMX" and value not in ("auto", "none"):
            return 'must be "auto" or "none"'
        if name == "STREAMS" and value not in ("auto", "always", "never"):
            return 'must be "auto", "always" or "never"'
        return "" if isinstance(value, str) else "must be a string"
    if not _is_number(value) or value < 0:
        return "must be a number that is not negative"
    if isinstance(default, int) and not isinstance(value, int):
        return "must be a whole number"
    if name == "MAX_JSON" and value < 10_000:
        return "must be at least 10000, so that there is room for what stands in place of a result that is too large"
    may_be_zero = name in ("KEEP_AUDIT", "KEEP_FINISHED", "SWEEP_INTERVAL")
    return "" if value or may_be_zero else "must be more than 0"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _wrong_policy(value: Any) -> str:
    try:
        found = import_string(value)
    except (ImportError, TypeError, AttributeError):
        return "must be the dotted path of a class, which can't be found"
    fits = isinstance(found, type) and issubclass(found, access.Policy)
    return "" if fits else "must be the dotted path of a subclass of django_progress.access.Policy"


def _is_exception(path: Any) -> bool:
    try:
        found = import_string(path)
    except (ImportError, TypeError, AttributeError):
        return False
    return isinstance(found, type) and issubclass(found, BaseException)


def _wrong_list(name: str, value: Any) -> str:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        return "must be a list"
    if name == "POLL_INTERVALS" and (len(value) != 3 or not all(_is_number(item) and item > 0 for item in value)):
        return "must be three numbers of seconds"
    if name == "PUBLIC_EXCEPTIONS" and not all(map(_is_exception, value)):
        return 'must be dotted paths of exception classes ("shop.errors.OutOfStock")'
    if name == "REDACTED_KEYS" and not all(isinstance(item, str) and any(map(str.isalnum, item)) for item in value):
        return "must be parts of keys, with a letter or digit each"
    if name == "ALLOWED_REDIRECT_HOSTS" and not all(isinstance(item, str) and "/" not in item for item in value):
        return 'must be hosts without a scheme ("example.org", "example.org:8443")'
    return ""


def _wrong_kinds(value: Any) -> str:
    if not isinstance(value, dict) or not all(isinstance(own, dict) for own in value.values()):
        return 'must be a dict of dicts ({"video": {"LEASE": 300}})'
    for kind, own in value.items():
        for name, seconds in own.items():
            if name not in conf.OF_KIND:
                return f"may set {' and '.join(conf.OF_KIND)} of a kind, and sets {name!r} of {kind!r}"
            if not _is_number(seconds) or seconds <= 0:
                return f"must set {name} of {kind!r} to a number that is more than 0"
    return ""


@register("django_progress")
def check_surroundings(**kwargs: Any) -> list[CheckMessage]:
    """Check what the app stands on."""
    found: list[CheckMessage] = []
    if not django_settings.USE_TZ:
        found.append(
            Error(
                "django_progress needs USE_TZ = True.",
                hint="Deadlines and leases are compared with the database's clock in UTC.",
                id="django_progress.E004",
            )
        )
    if not apps.is_installed("django_htmx"):
        found.append(
            Error(
                '"django_htmx" is not in INSTALLED_APPS.',
                hint="The fragments load htmx from its static files.",
                id="django_progress.E005",
            )
        )
    if not any(map(_is_csrf_middleware, django_settings.MIDDLEWARE)):
        found.append(
            Warning(
                '"django.middleware.csrf.CsrfViewMiddleware" is not in MIDDLEWARE.',
                hint="Add it: it sets the cookie without which the forms that cancel and retry are refused.",
                id="django_progress.W004",
            )
        )
    if not apps.is_installed("django_celery_results"):
        found.append(
            Warning(
                '"django_celery_results" is not in INSTALLED_APPS.',
                hint="Add it, so that the admin can show Celery's result beside each attempt.",
                id="django_progress.W002",
            )
        )
    return found


def _is_csrf_middleware(path: str) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django says so.
    return isinstance(found, type) and issubclass(found, CsrfViewMiddleware)


@register(Tags.database)
def check_databases(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Say where hints can't be written beside a caller's transaction; asked by ``check --database`` and ``migrate``."""
    using = router.db_for_write(apps.get_model("django_progress", "Process"))
    if not databases or using not in databases:
        return []
    connection = connections[using]
    if connection.vendor == "sqlite":
        return [
            Info(
                "SQLite has one writer: what a task reports inside atomic() is seen when that block is committed.",
                hint="Report outside atomic(), or use PostgreSQL or MariaDB, where it is seen at once.",
                id="django_progress.I001",
            )
        ]
    if beside.is_above_read_committed(connection):
        return [
            Warning(
                f"The isolation level of {using!r} is above READ COMMITTED: what a task reports inside atomic() is "
                "seen when that block is committed, and two reports at a time may fail with a serialization error.",
                hint="Set the isolation level of this database to READ COMMITTED, Django's default.",
                id="django_progress.W003",
            )
        ]
    return []
