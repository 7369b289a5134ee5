"""JSON for programs."""

from __future__ import annotations

import pytest

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
    assert set(body["links"]) == {"status", "events", "page", "wait", "cancel"}


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


def test_reading_stores_an_expiry_that_is_due(mine, start):
    process = start(max_duration=20, expires_in=-1)
    body = mine.get(url("status", process)).json()

    assert (body["status"], body["done"]) == ("expired", True)
    process.refresh_from_db()
    assert process.status == "expired"
    events = mine.get(url("events", process)).json()
    assert events["events"][-1]["type"] == "expired"
    assert events["last_seq"] == events["events"][-1]["seq"] == body["seq"]


def test_events_after_a_number(mine, process):
    for number in range(5):
        process.log(f"line {number}")
    first = mine.get(url("events", process, "?limit=2")).json()
    rest = mine.get(url("events", process, f"?after={first['events'][-1]['seq']}")).json()

    assert [event["seq"] for event in first["events"]] == [1, 2]
    assert [event["seq"] for event in rest["events"]] == [3, 4, 5, 6]
    assert first["last_seq"] == 6
    assert first["done"] is False
    assert rest["events"][0]["id"] == f"{process.key}:3"
    assert mine.get(url("events", process, "?after=6")).json()["events"] == []
    assert mine.get(url("events", process, f"?after={2**63 - 1}")).json()["events"] == []


def test_events_end_with_the_end(mine, process):
    process.succeed()
    body = mine.get(url("events", process)).json()

    assert body["done"] is True
    assert body["events"][-1]["type"] == "succeeded"
    assert body["events"][-1]["seq"] == body["last_seq"]


@pytest.mark.parametrize("after", ["-1", "abc", "1" + "0" * 30, "", "1.5", "+1", " 1", "٣", "1" * 5000])
def test_an_after_that_is_no_number_is_refused(mine, process, after):
    response = mine.get(url("events", process), {"after": after})

    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid_after"
    assert "last_seq" in error["message"]


@pytest.mark.parametrize(("limit", "count"), [("0", 1), ("1", 1), ("3", 3), ("1000000000", 500), ("1" + "0" * 30, 500)])
def test_the_limit_is_kept_within_bounds(mine, process, limit, count):
    from django_progress.models import Event

    Event.objects.bulk_create(
        Event(process=process, seq=seq, type="log", happened_at=process.created_at) for seq in range(2, 602)
    )
    type(process).objects.filter(pk=process.pk).update(last_seq=601)

    assert len(mine.get(url("events", process), {"limit": limit}).json()["events"]) == count
    assert len(mine.get(url("events", process)).json()["events"]) == 100


@pytest.mark.parametrize("limit", ["-1", "many", ""])
def test_a_limit_that_is_no_number_is_refused(mine, process, limit):
    assert mine.get(url("events", process), {"limit": limit}).json()["error"]["code"] == "invalid_limit"


def test_events_committed_after_the_row_was_read_come_with_the_next_request(mine, process):
    from django_progress.models import Event

    Event.objects.create(process=process, seq=2, type="log", happened_at=process.created_at)

    assert [event["seq"] for event in mine.get(url("events", process)).json()["events"]] == [1]


def test_cancel_by_a_program(mine, process):
    response = mine.post(url("cancel", process), headers={"Accept": "application/json"})

    assert response.status_code == 200
    assert response.json()["status"] == "cancelled"
    again = mine.post(url("cancel", process), headers={"Accept": "application/json"})
    assert (again.status_code, again.json()["seq"]) == (200, response.json()["seq"])


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

    assert (active.status_code, active.json()["error"]["code"]) == (409, "still_active")
    assert (taskless.status_code, taskless.json()["error"]["code"]) == (409, "no_task")


@pytest.mark.parametrize("name", ["status", "events"])
def test_reading_takes_few_queries(mine, process, name, django_assert_max_num_queries):
    with django_assert_max_num_queries(4):
        mine.get(url(name, process))


@pytest.mark.parametrize("name", ["status", "events", "detail", "wait", "list", "wait-fragment"])
def test_reading_is_by_get(mine, process, name):
    assert mine.post(url(name, None if name == "list" else process)).status_code == 405
