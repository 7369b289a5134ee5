"""Cancel and retry by form."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import Client

from django_progress.models import Process
from django_progress.responses import leave_for

from .conftest import HTMX, imports, url


@pytest.mark.parametrize("name", ["cancel", "retry"])
def test_get_is_not_allowed(mine, client, process, name):
    for who in (mine, client):
        response = who.get(url(name, process))
        assert response.status_code == 405
        assert response["Allow"] == "POST"
        assert response["Cache-Control"] == "private, no-store"
        assert {"Cookie", "HX-Request"} <= {item.strip() for item in response["Vary"].split(",")}


@pytest.mark.parametrize("name", ["cancel", "retry"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_csrf_is_checked(user, process, name, accept):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)

    assert client.post(url(name, process), headers={"Accept": accept}).status_code == 403
    process.refresh_from_db()
    assert process.status == "running"


@pytest.mark.parametrize("name", ["cancel", "retry"])
def test_a_program_is_told_in_json_that_the_csrf_check_failed(user, process, name):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    response = client.post(url(name, process), headers={"Accept": "application/json"})

    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"
    assert (response.json()["code"], response.json()["status"]) == ("csrf", 403)
    assert response["Cache-Control"] == "private, no-store"


SECRET = "s" * 32
HTTPS = {"Referer": "https://testserver/"}


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize(
    ("secure", "headers", "passes"),
    [
        (False, {"X-CSRFToken": SECRET}, True),
        (False, {"X-CSRFToken": "t" * 32}, False),
        (False, {"X-CSRFToken": ""}, False),
        (False, {"X-CSRFToken": SECRET, "Origin": "http://testserver"}, True),
        (False, {"X-CSRFToken": SECRET, "Origin": "http://evil.example"}, False),
        (False, {"X-CSRFToken": SECRET, "Origin": "null"}, False),
        (True, {"X-CSRFToken": SECRET}, False),
        (True, {"X-CSRFToken": SECRET, **HTTPS}, True),
        (True, {"X-CSRFToken": SECRET, "Referer": "https://evil.example/"}, False),
        (True, {"X-CSRFToken": SECRET, "Referer": "http://testserver/"}, False),
    ],
)
@pytest.mark.parametrize("middleware", [True, False])
def test_the_csrf_check_is_as_strict_as_djangos(user, process, settings, middleware, secure, headers, passes, accept):
    if not middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.cookies["csrftoken"] = SECRET
    response = client.post(url("cancel", process), headers={"Accept": accept, **headers}, secure=secure)
    who = {"username": "ada", "password": "secret"}
    login = client.post("/accounts/login/", who, headers={"Accept": accept, **headers}, secure=secure)

    assert (response.status_code != 403) == (login.status_code != 403) == passes
    process.refresh_from_db()
    assert process.status == ("cancelled" if passes else "running")


def teapot(request, reason=""):
    return HttpResponse(reason, status=418)


def test_a_failure_view_of_the_project_is_shown_to_people(user, process, settings):
    settings.CSRF_FAILURE_VIEW = f"{__name__}.teapot"
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)

    assert client.post(url("cancel", process)).status_code == 418
    assert client.post(url("cancel", process), headers={"Accept": "application/json"}).status_code == 403


def test_the_form_on_the_page_is_accepted(user, process):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    page = client.get(url("wait", process)).content.decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    response = client.post(url("cancel", process), {"csrfmiddlewaretoken": token, "next": url("wait", process)})

    assert (response.status_code, response["Location"]) == (303, url("wait", process))
    process.refresh_from_db()
    assert process.status == "cancelled"


def test_cancelling_twice_is_harmless(mine, process):
    for _ in range(2):
        response = mine.post(url("cancel", process))
        assert (response.status_code, response["Location"]) == (303, url("detail", process))
    process.refresh_from_db()
    assert (process.status, process.last_seq) == ("cancelled", 2)


def test_cancelling_what_has_finished_shows_how_it_ended(mine, process):
    process.succeed()

    assert mine.post(url("cancel", process))["Location"] == url("detail", process)
    process.refresh_from_db()
    assert process.status == "succeeded"


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "https://evil.example/", "javascript:alert(1)", "/\\evil", "\thttps://evil", "/a\r\nX: y", "x"],
)
def test_next_stays_on_this_site(mine, process, wanted):
    response = mine.post(url("cancel", process), {"next": wanted})

    assert response["Location"] == url("detail", process)


@pytest.mark.parametrize("wanted", ["/orders/?page=2", "http://testserver/orders/?page=2"])
def test_next_is_followed(mine, process, wanted):
    assert mine.post(url("cancel", process), {"next": wanted})["Location"] == "/orders/?page=2"


def test_htmx_is_led_by_a_header(mine, start):
    process = start(task=imports)
    cancelled = mine.post(url("cancel", process), headers=HTMX)
    again = mine.post(url("retry", process), headers=HTMX)

    assert (cancelled.status_code, cancelled["HX-Redirect"]) == (200, url("detail", process))
    assert (again.status_code, again["HX-Redirect"]) == (200, url("wait", Process.objects.newest_first()[0]))


def test_a_boosted_form_is_led_by_a_redirect(mine, process):
    response = mine.post(url("cancel", process), headers={**HTMX, "HX-Boosted": "true"})

    assert response.status_code == 303


def test_retry_leads_to_the_new_wait_page_also_twice(mine, start):
    process = start(task=imports)
    process.fail("It was empty.")
    first, second = mine.post(url("retry", process)), mine.post(url("retry", process))

    again = Process.objects.get(retry_of=process)
    assert first.status_code == second.status_code == 303
    assert first["Location"] == second["Location"] == url("wait", again)


def test_retry_that_is_not_possible_shows_how_it_stands(mine, process):
    assert mine.post(url("retry", process))["Location"] == url("detail", process)
    process.succeed()
    assert mine.post(url("retry", process))["Location"] == url("detail", process)


def test_htmx_is_led_to_an_address_in_ascii(rf):
    request = rf.get("/", headers=HTMX)

    assert leave_for(request, "/örders/?q=ü&r=%20")["HX-Redirect"] == "/%C3%B6rders/?q=%C3%BC&r=%20"


def test_cancelling_a_wait_leads_on_from_the_page_it_stands_on(mine, user):
    process = Process.objects.start("Work", owner=user, cancelled_url="/parcels/")
    response = mine.post(url("cancel", process), {"next": "/a/host/page/", "waiting": "1"})
    assert (response.status_code, response["Location"]) == (303, "/parcels/")

    process = Process.objects.start("Work", owner=user, cancelled_url="/parcels/")
    assert mine.post(url("cancel", process), {"next": "/a/host/page/"})["Location"] == "/a/host/page/"
