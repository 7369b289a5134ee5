"""Nobody sees what isn't theirs, nor whether it exists."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from django_progress.models import Process

from .conftest import HTMX, url

PAGES = ["detail", "wait", "wait-fragment", "status-fragment"]
JSON = ["status", "result", "events"]
VERBS = ["cancel", "retry"]


def ask(client: Client, name: str, process: Any, **headers: str) -> Any:
    method = client.post if name in VERBS else client.get
    return method(url(name, process), headers=headers or None)


class Missing:
    key = uuid.uuid4()


@pytest.mark.parametrize("headers", [{}, HTMX, {"Accept": "application/json"}], ids=["plain", "htmx", "json"])
@pytest.mark.parametrize("name", PAGES + JSON + VERBS)
def test_somebody_elses_answers_as_a_missing_one(theirs, process, name, headers):
    foreign, missing = ask(theirs, name, process, **headers), ask(theirs, name, Missing, **headers)

    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content
    assert dict(foreign.headers) == dict(missing.headers)
    assert b"airports" not in foreign.content
    process.refresh_from_db()
    assert process.status == "running"


@pytest.mark.parametrize("name", PAGES)
def test_visitors_are_led_to_the_login_page(db, client, process, name):
    for target in (process, Missing):
        response = ask(client, name, target)
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/?next=/progress/")
        assert str(target.key) in response["Location"]


@pytest.mark.parametrize("name", [*PAGES, *VERBS])
def test_htmx_is_led_to_the_login_page_and_back_to_the_page_that_is_open(db, client, process, name):
    for target in (process, Missing):
        headers = {**HTMX, "HX-Current-URL": "http://testserver/orders/?page=2#end"}
        response = ask(client, name, target, **headers)
        if name in ("detail", "wait"):
            assert response["HX-Redirect"] == f"/accounts/login/?next={url(name, target)}"
        else:
            assert response["HX-Redirect"] == "/accounts/login/?next=/orders/%3Fpage%3D2"
        assert response.status_code == 200
        assert response.content == b""


@pytest.mark.parametrize(
    "current", ["https://evil.example/x", "javascript:alert(1)", "//evil.example", "http://testserver\\@evil", ""]
)
def test_the_way_back_from_the_login_page_stays_on_this_site(client, process, current):
    response = ask(client, "status-fragment", process, **HTMX, **{"HX-Current-URL": current})

    assert response["HX-Redirect"] == f"/accounts/login/?next={url('detail', process)}"


def test_visitors_who_post_come_back_to_the_wait_page(client, process):
    response = ask(client, "cancel", process)

    assert response.status_code == 302
    assert response["Location"] == f"/accounts/login/?next={url('wait', process)}"


@pytest.mark.parametrize("name", [*JSON, *VERBS])
def test_programs_of_visitors_are_told_404(db, client, process, name):
    found, missing = (ask(client, name, target, Accept="application/json") for target in (process, Missing))

    assert found.status_code == missing.status_code == 404
    assert found["Content-Type"] == missing["Content-Type"] == "application/problem+json"
    assert found.json() == missing.json()
    assert found.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no such process.",
        "code": "not_found",
    }


def test_the_lists_lead_visitors_to_the_login_page(db, client):
    assert client.get(url("list"))["Location"] == "/accounts/login/?next=/progress/"
    assert client.get(url("list-fragment"))["Location"] == "/accounts/login/?next=/progress/"


def test_a_login_required_middleware_changes_nothing(db, client, mine, process, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    assert ask(client, "status", process).status_code == 404
    assert ask(client, "status-fragment", process, **HTMX)["HX-Redirect"]
    assert ask(mine, "status", process).status_code == 200


def test_staff_with_the_permission_see_and_may_not_change(staff, process):
    client = Client()
    client.force_login(staff)

    for name in [*PAGES, *JSON]:
        assert ask(client, name, process).status_code == 200, name
    assert b"</form>" not in ask(client, "detail", process).content
    for name in VERBS:
        assert ask(client, name, process).status_code == 403
        assert ask(client, name, process, Accept="application/json").json()["code"] == "forbidden"

    staff.user_permissions.add(Permission.objects.get(codename="change_process"))
    assert b"</form>" in ask(client, "detail", process).content
    assert ask(client, "cancel", process).status_code == 303
    process.refresh_from_db()
    assert process.status == "cancelled"
    assert process.ended_by == staff


@pytest.mark.parametrize("lacking", ["is_staff", "permission"])
def test_staff_and_permission_are_both_needed(staff, process, lacking):
    if lacking == "is_staff":
        User.objects.filter(pk=staff.pk).update(is_staff=False)
    else:
        staff.user_permissions.clear()
    client = Client()
    client.force_login(staff)

    for name in [*PAGES, *JSON, *VERBS]:
        assert ask(client, name, process).status_code == 404, name


def test_a_process_of_nobody_is_for_staff_only(mine, staff):
    process = Process.objects.start("Nightly")
    client = Client()
    client.force_login(staff)

    assert ask(mine, "status", process).status_code == 404
    assert ask(client, "status", process).status_code == 200


@pytest.mark.parametrize("name", [*PAGES, *JSON, *VERBS, "list", "list-fragment"])
def test_nobody_keeps_a_personal_answer(mine, client, process, name):
    target = None if name.startswith("list") else process
    for who, what in ((mine, target), (client, target), (mine, target and Missing)):
        for headers in ({}, HTMX):
            response = ask(who, name, what, **headers)
            assert response["Cache-Control"] == "private, no-store"
            assert {"Cookie", "HX-Request"} <= {item.strip() for item in response["Vary"].split(",")}


@override_settings(DEBUG=False)
def test_a_key_that_is_none_is_an_ordinary_404(mine):
    assert mine.get("/progress/1/wait/").status_code == 404
    assert mine.get("/progress/not-a-key/").status_code == 404


@pytest.mark.parametrize("name", ["wait-fragment", "status-fragment", "list-fragment"])
def test_a_poll_leads_only_those_away_who_were_logged_in(db, client, process, name):
    target = None if name.startswith("list") else process
    public = client.get(url(name, target, "?dp-shown=x"), headers=HTMX)
    expired = client.get(url(name, target, "?dp-shown=x&dp-for=1"), headers=HTMX)

    assert (public.status_code, public["Cache-Control"]) == (404, "private, no-store")
    assert "HX-Redirect" not in public
    assert (expired.status_code, expired["HX-Redirect"][:22]) == (200, "/accounts/login/?next=")


def test_a_boosted_form_of_a_visitor_comes_back_to_its_page(client, process):
    headers = {**HTMX, "HX-Boosted": "true", "HX-Current-URL": "http://testserver/orders/"}

    assert ask(client, "cancel", process, **headers)["Location"] == "/accounts/login/?next=/orders/"
