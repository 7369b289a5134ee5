"""JSON for programs."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from django_progress.responses import conflict

from .conftest import imports, url


def test_status_of_an_active_process(mine, process):
    process.milestone("read", "Reading rows")
    process.set_progress(42, 100, "rows")
    response = mine.get(url("status", process))

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Retry-After"] == "1"
    body = response.json()
    assert body["id"] == str(process.key)
    assert body["status"] == "running"
    assert body["done"] is False
    assert body["progress"]["percent"] == 42
    assert [milestone["name"] for milestone in body["milestones"]] == ["started", "read"]
    assert set(body["links"]) == {"status", "result", "events", "stream", "page", "wait", "cancel"}


def test_status_of_a_failure_is_200(mine, process):
    process.fail(ValueError("/etc/secret"))
    response = mine.get(url("status", process))

    assert response.status_code == 200
    assert "Retry-After" not in response
    body = response.json()
    assert body["done"] is True
    assert body["error"]["reference"] == process.error_reference
    assert {"key": "Error", "value": body["error"]["message"]} in body["messages"]
    assert b"secret" not in response.content


def test_result_of_what_has_succeeded(mine, process):
    process.succeed({"rows": 3})
    response = mine.get(url("result", process))

    assert response.status_code == 200
    assert "Retry-After" not in response
    body = response.json()
    assert (body["id"], body["status"], body["done"]) == (str(process.key), "succeeded", True)
    assert (body["result"], body["error"]) == ({"rows": 3}, None)


def test_result_of_what_goes_on_is_what_there_is_so_far(mine, process):
    assert mine.get(url("result", process)).json()["result"] is None
    process.set_result(["first"])
    response = mine.get(url("result", process))

    assert (response.status_code, response["Retry-After"]) == (200, "1")
    assert (response.json()["result"], response.json()["done"]) == (["first"], False)


def test_result_of_a_failure_is_200_and_says_why(mine, process):
    process.fail(ValueError("/etc/secret"))
    response = mine.get(url("result", process))

    assert response.status_code == 200
    assert response.json()["error"]["reference"] == process.error_reference
    assert b"secret" not in response.content


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("name", ["status", "result"])
def test_what_is_known_already_is_not_sent_again(mine, process, name, method):
    ask = getattr(mine, method)
    first = ask(url(name, process))
    etag = first["ETag"]
    for known in (etag, etag.removeprefix("W/"), f"W/{etag.removeprefix('W/')}", f'"other", {etag}', "*"):
        again = ask(url(name, process), headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert (again["ETag"], again["Retry-After"]) == (etag, "1")
        assert again["Cache-Control"] == "private, no-store"
        assert "Content-Type" not in again

    process.set_result("new")
    changed = ask(url(name, process), headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed["ETag"] != etag


@pytest.fixture
def executing(start):
    """One whose task executes, and that can tell when it will be done."""
    process = start(
        task=imports,
        status="running",
        attempt_token="t" * 32,
        attempt_number=1,
        current=10,
        rate=0.01,
        samples=5,
        quiet=5,
    )
    type(process).objects.filter(pk=process.pk).update(total=100)
    process.attempt_set.create(number=1, attempt_number=1, token="t" * 32, started_at=process.created_at)
    return process


def test_the_passing_of_time_is_no_news(mine, executing, monkeypatch):
    first = mine.get(url("status", executing))
    assert first["ETag"].startswith('W/"')
    known = {"If-None-Match": first["ETag"]}

    monkeypatch.setattr(type(executing), "now", property(lambda self: timezone.now() + timedelta(seconds=30)))
    later = mine.get(url("status", executing))
    before, after = first.json(), later.json()
    assert before["quiet_seconds"] + 30 <= after["quiet_seconds"]
    assert before["progress"]["eta_seconds"] - 30 >= after["progress"]["eta_seconds"]
    assert later["ETag"] == first["ETag"]
    assert mine.get(url("status", executing), headers=known).status_code == 304

    type(executing).objects.filter(pk=executing.pk).update(current=11)
    assert mine.get(url("status", executing), headers=known).status_code == 200


def test_an_etag_is_of_one_language(mine, user):
    from django.utils.translation import gettext_lazy

    from django_progress.models import Process

    process = Process.objects.start(gettext_lazy("Yes"), owner=user)
    etags = {mine.get(url("status", process), headers={"Accept-Language": code})["ETag"] for code in ("en", "de")}

    assert len(etags) == 2


def test_retry_after_follows_what_such_processes_have_taken(mine, start):
    from django_progress import history

    history.forget()
    for _ in range(3):
        start(kind="report", age=21).succeed()
    process = start(kind="report", age=8)
    assert [mine.get(url(name, process))["Retry-After"] for name in ("status", "result")] == ["13", "13"]
    assert process.accepted(None)["Retry-After"] == "13"
    history.forget()


@pytest.mark.parametrize("limit", ["-1", "many", ""])
def test_a_limit_that_is_no_number_is_refused(mine, process, limit):
    assert mine.get(url("events", process), {"limit": limit}).json()["code"] == "invalid_limit"


def test_cancel_by_a_program(mine, process):
    response = mine.post(url("cancel", process), headers={"Accept": "application/json"})

    assert response.status_code == 200
    assert response.json()["status"] == "cancelled"
    again = mine.post(url("cancel", process), headers={"Accept": "application/json"})
    assert (again.status_code, again.json()["seq"]) == (200, response.json()["seq"])


def test_what_is_removed_while_it_is_cancelled_is_not_found(mine, process, monkeypatch):
    cancel = type(process).cancel

    def removed(self, **options):
        cancel(self, **options)
        type(self).objects.filter(pk=self.pk).delete()

    monkeypatch.setattr(type(process), "cancel", removed)
    response = mine.post(url("cancel", process), headers={"Accept": "application/json"})

    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_cancel_of_a_running_task_is_asked_for(mine, start):
    process = start(task=imports, status="running", attempt_token="t" * 32, attempt_number=1)
    process.attempt_set.create(number=1, attempt_number=1, token="t" * 32, started_at=process.created_at)
    response = mine.post(url("cancel", process), headers={"Accept": "application/json"})

    assert response.status_code == 202
    assert response.json()["cancel_requested"] is True
    assert "cancel" not in response.json()["links"]


def test_retry_by_a_program(mine, start):
    process = start(task=imports)
    process.fail("It was empty.")
    response = mine.post(url("retry", process), headers={"Accept": "application/json"})

    assert response.status_code == 202
    body = response.json()
    assert body["id"] != str(process.key)
    assert response["Location"] == body["url"] == f"/progress/{body['id']}/status/"
    again = mine.post(url("retry", process), headers={"Accept": "application/json"})
    assert again.json()["id"] == body["id"]


def test_retry_that_is_not_possible_says_why(mine, start, process):
    active = mine.post(url("retry", start(task=imports)), headers={"Accept": "application/json"})
    process.succeed()
    taskless = mine.post(url("retry", process), headers={"Accept": "application/json"})

    assert (active.status_code, active.json()["code"]) == (409, "still_active")
    assert (taskless.status_code, taskless.json()["code"]) == (409, "no_task")


@pytest.mark.parametrize("name", ["status", "result", "events"])
def test_reading_takes_few_queries(mine, process, name, django_assert_max_num_queries):
    with django_assert_max_num_queries(4):
        mine.get(url(name, process))


@pytest.mark.parametrize("name", ["status", "result", "events", "detail", "wait", "list", "wait-fragment"])
def test_reading_is_by_get(mine, process, name):
    assert mine.post(url(name, None if name == "list" else process)).status_code == 405


@pytest.mark.parametrize("name", ["status", "result", "events", "openapi"])
@pytest.mark.parametrize("method", ["post", "put", "delete", "options"])
def test_other_methods_are_refused_in_json(user, process, name, method):
    # Not by the CSRF check, which answers in HTML.
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    response = getattr(client, method)(url(name, None if name == "openapi" else process))

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("name", ["cancel", "retry"])
@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_verbs_are_refused_by_other_methods_in_json(mine, process, name, method):
    response = getattr(mine, method)(url(name, process), headers={"Accept": "application/json"})

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert response.json()["code"] == "method_not_allowed"
    assert getattr(mine, method)(url(name, process))["Content-Type"] != "application/problem+json"


@pytest.mark.parametrize("key", ["its own", "another"])
def test_json_is_never_taken_for_a_page(user, process, rf, settings, key):
    settings.SECURE_CONTENT_TYPE_NOSNIFF = False  # Django's middleware would see to it; not every project has that.
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    asked = str(process.key) if key == "its own" else str(uuid4())
    for name in ("status", "result", "events", "stream", "cancel", "retry"):
        for method in ("get", "post", "put"):
            for query in ("", "?after=x"):
                address = url(name, process, query).replace(str(process.key), asked)
                response = getattr(client, method)(address, headers={"Accept": "application/json"})
                assert "json" in response["Content-Type"], (method, name)
                assert response["X-Content-Type-Options"] == "nosniff", (method, name)
    assert process.accepted(rf.get("/"))["X-Content-Type-Options"] == "nosniff"
    assert conflict()["X-Content-Type-Options"] == "nosniff"
    assert client.get("/progress/openapi.json")["X-Content-Type-Options"] == "nosniff"
