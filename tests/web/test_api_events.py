"""The list of events for programs."""

from __future__ import annotations

import pytest

from .conftest import url


def test_reading_stores_an_expiry_that_is_due(mine, start):
    process = start(max_duration=20, expires_in=-1)
    body = mine.get(url("status", process)).json()

    assert (body["status"], body["done"]) == ("expired", True)
    process.refresh_from_db()
    assert process.status == "expired"
    events = mine.get(url("events", process)).json()
    assert events["events"][-1]["type"] == "expired"
    assert events["last_seq"] == events["events"][-1]["seq"] == body["seq"]


@pytest.fixture
def held(monkeypatch, start):
    """An overdue process whose row somebody else holds: it can't be stored now that it has expired."""
    from django_progress.models import Process

    process = start(max_duration=20, expires_in=-1)
    monkeypatch.setattr(Process, "_expire_if_overdue", lambda *args, **kwargs: False)
    return process


def test_events_are_not_done_before_the_last_is_stored(mine, held, monkeypatch):
    body = mine.get(url("events", held)).json()
    assert (len(body["events"]), body["last_seq"], body["done"]) == (1, 1, False)
    assert mine.get(url("status", held)).json()["status"] == "expired"

    monkeypatch.undo()
    body = mine.get(url("events", held, "?after=1")).json()
    assert ([event["type"] for event in body["events"]], body["done"]) == (["expired"], True)


def test_what_is_overdue_is_waited_for(mine, held, monkeypatch):
    from django_progress.views import api

    asked = []
    monkeypatch.setattr(api, "wait_for_event", lambda *args: asked.append(args))
    mine.get(url("events", held, "?after=1&wait=1"))
    assert len(asked) == 1


def test_an_expiry_that_somebody_else_stores_meanwhile_is_told(mine, start, monkeypatch):
    from django_progress.models import Process

    process = start(max_duration=20, expires_in=-1)
    store = Process._expire_if_overdue

    def beaten(self, **options):
        store(type(self).objects.get(pk=self.pk))
        return store(self, **options)

    monkeypatch.setattr(Process, "_expire_if_overdue", beaten)
    body = mine.get(url("events", process)).json()
    assert ([event["type"] for event in body["events"]], body["done"]) == (["milestone", "expired"], True)


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
    assert rest["reset"] is None


def test_a_cursor_beyond_the_log_begins_anew(mine, process):
    process.log("line")
    for after in (3, 2**63 - 1):
        body = mine.get(url("events", process, f"?after={after}")).json()
        assert body["reset"] == {"after": 0, "reason": "unknown"}
        assert [event["seq"] for event in body["events"]] == [1, 2]
    assert mine.get(url("events", process, "?after=2")).json()["reset"] is None


def test_a_cursor_before_what_was_purged_is_told_so(mine, process):
    for number in range(5):
        process.log(f"line {number}")
    process.event_set.filter(seq__lte=3).delete()

    for after in (0, 1, 2):
        body = mine.get(url("events", process, f"?after={after}")).json()
        assert body["reset"] == {"after": 3, "reason": "purged"}
        assert [event["seq"] for event in body["events"]] == [4, 5, 6]
    assert mine.get(url("events", process, "?after=3")).json()["reset"] is None
    beyond = mine.get(url("events", process, "?after=99")).json()
    assert beyond["reset"] == {"after": 3, "reason": "unknown"}


def test_a_replica_that_lags_begins_nothing_anew(mine, process):
    from django_progress.views.api import Asked, _page

    stale = type(process).objects.get(pk=process.pk)
    process.log("line")

    assert _page(stale, Asked(2, 100, 0)) == {"events": [], "last_seq": 1, "done": False, "reset": None}


def test_wsgi_answers_at_once_whatever_it_is_to_wait(mine, process):
    body = mine.get(url("events", process, "?after=1&wait=30")).json()

    assert body == {"events": [], "last_seq": 1, "done": False, "reset": None}


@pytest.mark.parametrize("wait", ["-1", "abc", "", "1.5", "1" * 5000])
def test_a_wait_that_is_no_number_is_refused(mine, process, wait):
    response = mine.get(url("events", process), {"wait": wait})

    assert (response.status_code, response.json()["code"]) == (400, "invalid_wait")


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
    assert response["Content-Type"] == "application/problem+json"
    error = response.json()
    assert error["code"] == "invalid_after"
    assert "last_seq" in error["detail"]


@pytest.mark.parametrize(("limit", "count"), [("0", 1), ("1", 1), ("3", 3), ("1000000000", 500), ("1" + "0" * 30, 500)])
def test_the_limit_is_kept_within_bounds(mine, process, limit, count):
    from django_progress.models import Event

    Event.objects.bulk_create(
        Event(process=process, seq=seq, type="log", happened_at=process.created_at) for seq in range(2, 602)
    )
    type(process).objects.filter(pk=process.pk).update(last_seq=601)

    assert len(mine.get(url("events", process), {"limit": limit}).json()["events"]) == count
    assert len(mine.get(url("events", process)).json()["events"]) == 100


def test_events_committed_after_the_row_was_read_come_with_the_next_request(mine, process):
    from django_progress.models import Event

    Event.objects.create(process=process, seq=2, type="log", happened_at=process.created_at)

    assert [event["seq"] for event in mine.get(url("events", process)).json()["events"]] == [1]
