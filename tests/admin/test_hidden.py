"""What the admin tells nobody: values that its pages hide, and which processes there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, reverse

from django_progress.models import AuditEntry, Process, Step
from django_progress.sharing import get_share_url, share
from tests.admin.conftest import TASK

LIST = "/admin/django_progress/process/"
NEVER = 987_654_321
"""The number of a row that there isn't."""


@pytest.fixture
def secretive(owner: User) -> Process:
    kwargs = {"password": "hunter2", "host": "example.org"}
    return Process.objects.start("Connect", task=TASK, kwargs=kwargs, context={"token": "t0ken"}, owner=owner)


@pytest.mark.parametrize(
    "lookup",
    [
        "task_kwargs__password", "task_kwargs__password__startswith", "task_kwargs__icontains", "task_args__0",
        "context__token__gte", "task_options__x", "attempt_token", "visitor__startswith", "idempotency_hash",
        "result__rows", "message_pairs__0", "error_detail__contains", "parent__context__token", "retry_of__task_kwargs",
        "owner__password__startswith", "children__context__token", "event_set__details__x",
    ],
)  # fmt: skip
def test_a_list_is_no_way_to_guess_what_is_hidden(viewer: Client, secretive: Process, lookup: str) -> None:
    answers = [viewer.get(LIST, {lookup: value}) for value in ("hunter2", "h", "z")]
    assert {answer.status_code for answer in answers} <= {302, 400}
    assert len({(answer.status_code, answer.get("Location")) for answer in answers}) == 1


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("event", "details__password__startswith"), ("event", "process__context__token"),
        ("attempt", "token__startswith"), ("attempt", "process__task_kwargs__password"),
        ("step", "options__item__password"), ("step", "result__token"), ("step", "execution__task_args__0"),
    ],
)  # fmt: skip
def test_nor_are_the_lists_of_what_belongs_to_it(viewer: Client, secretive: Process, model: str, lookup: str) -> None:
    assert viewer.get(f"/admin/django_progress/{model}/", {lookup: "h"}).status_code == 400


def test_nor_is_the_record(staff: Callable[..., Client], secretive: Process) -> None:
    secretive.cancel()
    assert AuditEntry.objects.exists()
    auditor = staff("view", model="auditentry")
    for lookup in ("details__token__startswith", "actor__password__startswith"):
        assert auditor.get("/admin/django_progress/auditentry/", {lookup: "h"}).status_code == 400


def test_what_lists_lead_to_can_be_asked_for(viewer: Client, failed: Process) -> None:
    again = failed.retry()
    for query in (f"?retry_of={failed.pk}", "?status=pending", "?kind=", "?owner__isempty=0", "?created_at__year=1999"):
        assert viewer.get(LIST + query).status_code == 200, query
    assert f"/{again.pk}/change/" in viewer.get(f"{LIST}?retry_of={failed.pk}").content.decode()
    for part in ("event", "attempt"):
        assert viewer.get(f"/admin/django_progress/{part}/?process={failed.pk}").status_code == 200


def addresses() -> Iterator[tuple[str, str]]:
    """Yield every address of one row in the admin of this app, from the admin's own URL configuration."""
    for model, site in admin.site._registry.items():
        if model._meta.app_label != "django_progress":
            continue
        found = [url for url in site.get_urls() if isinstance(url, URLPattern) and url.name]
        assert found
        for url in found:
            if "object_id" in url.pattern.converters:
                yield model._meta.model_name or "", url.name or ""


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(("model", "name"), list(addresses()), ids=lambda value: value.removeprefix("django_progress_"))
def test_staff_without_the_permission_learn_of_no_row(
    staff: Callable[..., Client], running: Process, owner: User, model: str, name: str, method: str
) -> None:
    share(running, owner)
    get_share_url(running)
    Step.objects.create(process=running, path="#.a", name="a")
    rows: Any = next(each for each in admin.site._registry if each._meta.model_name == model)._default_manager
    client = staff()
    told = []
    for pk in (rows.values_list("pk", flat=True)[0], NEVER):
        answer = getattr(client, method)(reverse(f"admin:{name}", args=[pk]))
        told.append((answer.status_code, answer.content, answer.get("Location"), answer.cookies.output()))
    assert told[0] == told[1]
    assert told[0][0] in (403, 405)
