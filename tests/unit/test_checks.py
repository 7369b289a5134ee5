"""What the system checks say about a project's settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.middleware.csrf import CsrfViewMiddleware

from django_progress.checks import check_databases, check_settings, check_surroundings
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
        ({"HTMX": "sometimes"}, ["django_progress.E003"], ""),
        ({"LEASE": float("nan")}, ["django_progress.E003"], ""),
        ({"LEASE": float("inf")}, ["django_progress.E003"], ""),
        ({"ALLOWED_REDIRECT_HOSTS": ["https://example.org"]}, ["django_progress.E003"], ""),
        ({"POLL_INTERVALS": (1, 2, float("nan"))}, ["django_progress.E003"], ""),
        ({"KINDS": {"video": {"LEASE": 300, "HEARTBEAT": 30}}}, [], ""),
        ({"KINDS": {"video": {"LEASE": 20}}}, ["django_progress.W001"], "Raise LEASE"),
        ({"KINDS": {"video": 20}}, ["django_progress.E003"], ""),
        ({"KINDS": ["video"]}, ["django_progress.E003"], ""),
        ({"KINDS": {"video": {"PAGE_SIZE": 20}}}, ["django_progress.E003"], ""),
        ({"KINDS": {"video": {"LEASE": 0}}}, ["django_progress.E003"], ""),
        ({"ACCESS_POLICY": "django_progress.access.Policy"}, [], ""),
        ({"ACCESS_POLICY": "tests.unit.test_sharing.Colleagues"}, [], ""),
        ({"ACCESS_POLICY": "django_progress.access.Who"}, ["django_progress.E003"], ""),
        ({"ACCESS_POLICY": "django_progress.access.policy"}, ["django_progress.E003"], ""),
        ({"ACCESS_POLICY": "gone.Policy"}, ["django_progress.E003"], ""),
        ({"ACCESS_POLICY": ""}, ["django_progress.E003"], ""),
        ({"ACCESS_POLICY": None}, ["django_progress.E003"], ""),
        ({"PUBLIC_EXCEPTIONS": ["builtins.LookupError", "django.core.exceptions.ValidationError"]}, [], ""),
        ({"PUBLIC_EXCEPTIONS": "builtins.LookupError"}, ["django_progress.E003"], ""),
        ({"PUBLIC_EXCEPTIONS": ["LookupError"]}, ["django_progress.E003"], ""),
        ({"PUBLIC_EXCEPTIONS": [LookupError]}, ["django_progress.E003"], ""),
        ({"PUBLIC_EXCEPTIONS": ["builtins.len"]}, ["django_progress.E003"], ""),
        ({"REDACTED_KEYS": []}, [], ""),
        ({"REDACTED_KEYS": ("iban",)}, [], ""),
        ({"REDACTED_KEYS": "iban"}, ["django_progress.E003"], ""),
        ({"REDACTED_KEYS": [""]}, ["django_progress.E003"], ""),
        ({"REDACTED_KEYS": ["-_-"]}, ["django_progress.E003"], ""),
        ({"REDACTED_KEYS": [7]}, ["django_progress.E003"], ""),
        ({"SHARE_LINK_AGE": 0}, ["django_progress.E003"], ""),
        ({"SHARE_LINK_AGE": 60}, [], ""),
        ({"KEEP_AUDIT": 0}, [], ""),
        ({"KEEP_AUDIT": -1}, ["django_progress.E003"], ""),
        ({"REPORT_INTERVAL": 0.1, "PROGRESS_EVENT_INTERVAL": 1}, [], ""),
        ({"REPORT_INTERVAL": 0}, ["django_progress.E003"], ""),
        ({"PROGRESS_EVENT_INTERVAL": 0}, ["django_progress.E003"], ""),
        ({"STREAMS": "sometimes"}, ["django_progress.E003"], ""),
        ({"STREAMS": "never"}, [], ""),
        ({"EVENTS_PAGE_SIZE": 1}, [], ""),
        ({"EVENTS_PAGE_SIZE": 0}, ["django_progress.E003"], ""),
        ({"EVENTS_PAGE_SIZE": 10.0}, ["django_progress.E003"], ""),
        ({"MAX_JSON": 10_000}, [], ""),
        ({"MAX_JSON": 9_999}, ["django_progress.E003"], ""),
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


class OwnCsrfMiddleware(CsrfViewMiddleware): ...


def test_forms_need_the_cookie(settings: Any) -> None:
    usual = "django.middleware.csrf.CsrfViewMiddleware"
    others = [name for name in settings.MIDDLEWARE if name != usual]
    settings.MIDDLEWARE = [*others, "nowhere.Middleware"]
    assert [message.id for message in check_surroundings()] == ["django_progress.W004"]
    settings.MIDDLEWARE = [*others, f"{__name__}.OwnCsrfMiddleware"]
    assert check_surroundings() == []


def test_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_databases() == []
    assert check_databases(databases=["another"]) == []
    here = ["django_progress.I001"] if connection.vendor == "sqlite" else []
    assert [message.id for message in check_databases(databases=["default"])] == here
    monkeypatch.setattr(connections["default"], "vendor", "postgresql")
    monkeypatch.setattr(connections["default"], "isolation_level", None, raising=False)
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"isolation_level": "serializable"})
    assert [message.id for message in check_databases(databases=["default"])] == ["django_progress.W003"]
