"""System checks: what is wrong with a project's settings, and what to do about it."""

from __future__ import annotations

import difflib
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register

from . import conf

__all__ = ["check_settings", "check_surroundings"]


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
    if not found and conf.settings.LEASE < 3 * conf.settings.HEARTBEAT:
        found.append(
            Warning(
                f"{conf.NAME}['LEASE'] is less than three times HEARTBEAT: one late beat and a healthy worker "
                "is taken for dead.",
                hint="Raise LEASE or lower HEARTBEAT.",
                id="django_progress.W001",
            )
        )
    return found


def _wrong(name: str, value: Any) -> str:
    default = getattr(conf.Defaults, name)
    if isinstance(default, tuple):
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            return "must be a list"
        if name == "POLL_INTERVALS" and (
            len(value) != 3 or not all(isinstance(item, (int, float)) and item > 0 for item in value)
        ):
            return "must be three numbers of seconds"
        return ""
    if isinstance(default, str):
        return "" if isinstance(value, str) else "must be a string"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        return "must be a number that is not negative"
    if isinstance(default, int) and not isinstance(value, int):
        return "must be a whole number"
    may_be_zero = name in ("KEEP_FINISHED", "SWEEP_INTERVAL")
    return "" if value or may_be_zero else "must be more than 0"


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
    if not apps.is_installed("django_celery_results"):
        found.append(
            Warning(
                '"django_celery_results" is not in INSTALLED_APPS.',
                hint="Add it, so that the admin can show Celery's result beside each attempt.",
                id="django_progress.W002",
            )
        )
    return found
