"""The description of the API, as it is handed out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.auth.models import User
from django.test import Client
from django.urls import include, path

from django_progress.views.openapi import describe
from tests.access.asking import PLACED, url_of

URL = "/progress/openapi.json"
urlpatterns = [path("a/prefix/of/ones/own/", include("django_progress.urls"))]


def test_it_describes_every_address_for_programs() -> None:
    described = set(describe()["paths"])
    for name, sort in PLACED.items():
        if sort in ("json", "verb"):
            assert f"/progress/{{key}}/{name.removeprefix('process-')}/" in described, f"{name} is not described"


def test_it_names_the_addresses_as_the_project_has_them(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    assert "/a/prefix/of/ones/own/{key}/status/" in describe()["paths"]


def test_anybody_may_read_and_keep_it(django_assert_num_queries: Any, db: None) -> None:
    with django_assert_num_queries(0):
        response = Client().get(URL)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert sorted(response["Cache-Control"].split(", ")) == ["max-age=3600", "private"]
    assert "Cookie" not in response.get("Vary", "")
    assert response.json() == json.loads(json.dumps(describe()))
    again = Client().get(URL, headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again["Cache-Control"] == response["Cache-Control"]


@pytest.mark.django_db
def test_no_session_is_kept_with_it_for_others(settings: Any) -> None:
    settings.SESSION_SAVE_EVERY_REQUEST = True
    client = Client()
    client.force_login(User.objects.create_user("ann"))
    response = client.get(URL)
    assert response.cookies["sessionid"].value
    assert "public" not in response["Cache-Control"]


@pytest.mark.django_db
def test_a_login_required_middleware_leaves_it_open(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert Client().get(URL).status_code == 200


@pytest.mark.django_db
def test_it_tells_no_secret() -> None:
    body = Client().get(URL).content.decode()
    entry = project.DATABASES["default"]
    for secret in (project.SECRET_KEY, str(entry["NAME"]), project.CELERY_BROKER_URL):
        assert secret not in body
    assert url_of("process-list") not in body.replace("/progress/{key}/", "")


def test_keys_are_described_as_they_are_found() -> None:
    path = describe()["paths"]["/progress/{key}/status/"]
    pattern = path["parameters"][0]["schema"]["pattern"]
    key = "0123abcd-0000-4000-8000-00000000000f"
    assert re.search(pattern, key)
    for wrong in (key.upper(), key.replace("-", ""), f"{{{key}}}"):
        assert not re.search(pattern, wrong)
