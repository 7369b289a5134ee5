"""What the system checks say about a project's settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings

from django_progress.checks import check_settings, check_surroundings
from django_progress.conf import settings as ours


@pytest.mark.parametrize(
    ("given", "ids", "says"),
    [
        ({}, [], ""),
        ({"LEASE": 30, "HEARTBEAT": 5}, [], ""),
        ({"KEEP_FINISHED": 0, "SWEEP_INTERVAL": 0}, [], ""),
        ({"LEESE": 30}, ["django_progress.E002"], "Did you mean 'LEASE'?"),
        ({"lease": 30}, ["django_progress.E002"], "Did you mean 'LEASE'?"),
        ({"COLOUR": 1}, ["django_progress.E002"], "Known keys: LEASE"),
        ({"LEASE": "60"}, ["django_progress.E003"], ""),
        ({"LEASE": True}, ["django_progress.E003"], ""),
        ({"LEASE": -1}, ["django_progress.E003"], ""),
        ({"PAGE_SIZE": 0}, ["django_progress.E003"], ""),
        ({"PAGE_SIZE": 2.5}, ["django_progress.E003"], ""),
        ({"ALLOWED_REDIRECT_HOSTS": "example.org"}, ["django_progress.E003"], ""),
        ({"POLL_INTERVALS": (1, 2)}, ["django_progress.E003"], ""),
        ({"BASE_TEMPLATE": None}, ["django_progress.E003"], ""),
        ({"LEASE": 20, "HEARTBEAT": 10}, ["django_progress.W001"], "Raise LEASE"),
        ([("LEASE", 1)], ["django_progress.E001"], ""),
    ],
)
def test_settings(settings: Any, given: Any, ids: list[str], says: str) -> None:
    settings.DJANGO_PROGRESS = given
    found = check_settings()
    assert [message.id for message in found] == ids
    assert says in "".join(message.hint or "" for message in found)


def test_settings_are_read_live(settings: Any) -> None:
    assert ours.LEASE == 60
    settings.DJANGO_PROGRESS = {"LEASE": 5, "ALLOWED_REDIRECT_HOSTS": ["example.org"]}
    assert ours.LEASE == 5
    assert ours.ALLOWED_REDIRECT_HOSTS == ("example.org",)
    with pytest.raises(AttributeError):
        _ = ours.LEESE


def test_surroundings(settings: Any) -> None:
    assert check_surroundings() == []
    settings.USE_TZ = False
    assert [message.id for message in check_surroundings()] == ["django_progress.E004"]
    settings.USE_TZ = True
    left_out = ("django_htmx", "django_celery_results")
    settings.INSTALLED_APPS = [app for app in django_settings.INSTALLED_APPS if app not in left_out]
    assert [message.id for message in check_surroundings()] == ["django_progress.E005", "django_progress.W002"]
