"""The verbs in admin, for one process and for those that are selected; and deleting."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_progress.models import Attempt, Event, Process
from django_progress.status import Status
from tests.admin.conftest import add_events

URL = reverse("admin:django_progress_process_changelist")


def url(process: Process, action: str = "change") -> str:
    return reverse(f"admin:django_progress_process_{action}", args=[process.pk])


def said(client: Client, answer: Any) -> list[str]:
    """Return the messages of an answer, and let the next page forget them."""
    found = [str(message) for message in get_messages(answer.wsgi_request)]
    client.get(reverse("admin:index"))
    return found


def select(client: Client, action: str, *processes: Process, **data: Any) -> list[str]:
    """Run an action on processes, and return what is said about it."""
    selected = {"action": action, "_selected_action": [process.pk for process in processes], **data}
    return said(client, client.post(URL, selected))


def press(client: Client, verb: str, process: Process) -> list[str]:
    """Press a button on the page of a process, and return what is said about it."""
    answer = client.post(url(process, verb))
    assert answer.status_code == 302
    return said(client, answer)


def status(process: Process) -> str:
    process.refresh_from_db()
    return process.status


# -- on a selection ----------------------------------------------------------------------


def test_cancel(changer: Client, pending: Process, manual: Process, running: Process, finished: Process) -> None:
    assert select(changer, "cancel_selected", pending, manual, running, finished) == [
        "2 processes were cancelled.",
        "1 process was asked to stop; it does so at its next report.",
        "1 process was left as it is, because it has finished.",
    ]
    assert [status(process) for process in (pending, manual, running, finished)] == [
        "cancelled", "cancelled", "running", "succeeded",
    ]  # fmt: skip
    staff = User.objects.get(is_staff=True)
    assert pending.ended_by == staff
    assert running.attempt_set.get().cancel_requested_by == staff
    assert select(changer, "cancel_selected", pending) == ["1 process was left as it is, because it has finished."]


def test_expire(changer: Client, pending: Process, running: Process, finished: Process, overdue: Process) -> None:
    assert select(changer, "expire_selected", pending, running, finished, overdue) == [
        "2 processes were expired.",
        "2 processes were left as they are, because they have finished.",
    ]
    assert [status(process) for process in (pending, running, finished)] == ["expired", "expired", "succeeded"]
    assert pending.ended_by == User.objects.get(is_staff=True)


def test_retry(changer: Client, failed: Process, pending: Process, finished: Process) -> None:
    assert select(changer, "retry_selected", failed, pending, finished) == [
        "1 process was started again.",
        "1 process can't be started again before it has finished.",
        "1 process can't be started again, because it has no task.",
    ]
    assert failed.retries.get().status == Status.PENDING
    assert status(failed) == "failed"


def test_one_that_fails_does_not_stop_the_others(
    changer: Client,
    manual: Process,
    pending: Process,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cancel = Process.cancel

    def fail(process: Process, **kwargs: Any) -> bool:
        if process.pk == manual.pk:
            raise ConnectionError("no luck")
        return cancel(process, **kwargs)

    monkeypatch.setattr(Process, "cancel", fail)
    assert select(changer, "cancel_selected", manual, pending) == [
        "1 process was cancelled.",
        "1 process was left as it is, because of an error that is in the log.",
    ]
    assert "no luck" in caplog.text
    assert str(manual.key) in caplog.text


def test_one_that_is_gone_is_passed_over(changer: Client, manual: Process, finished: Process) -> None:
    finished.remove()
    assert select(changer, "cancel_selected", manual, Process(pk=finished.pk or 10**6)) == ["1 process was cancelled."]


def test_all_that_match(changer: Client, pending: Process, manual: Process) -> None:
    assert select(changer, "cancel_selected", pending, select_across="1") == ["2 processes were cancelled."]


def test_what_staff_did_is_in_the_history(changer: Client, pending: Process, finished: Process) -> None:
    select(changer, "cancel_selected", pending, finished)
    assert [entry.get_change_message() for entry in LogEntry.objects.all()] == ["Cancelled."]
    assert "Cancelled." in changer.get(url(pending, "history")).content.decode()


@pytest.mark.parametrize("action", ["cancel_selected", "expire_selected", "retry_selected", "delete_selected"])
@pytest.mark.parametrize("permissions", [(), ("view",), ("view", "add")], ids=["none", "view", "add"])
def test_actions_need_their_permission(
    staff: Callable[..., Client], manual: Process, failed: Process, action: str, permissions: tuple[str, ...]
) -> None:
    assert select(staff(*permissions), action, manual, failed, post="yes") in ([], ["No action selected."])
    assert status(manual) == "running"
    assert not failed.retries.exists()
    assert Process.objects.count() == 2


def test_changing_is_not_deleting(staff: Callable[..., Client], changer: Client, finished: Process) -> None:
    select(changer, "delete_selected", finished, post="yes")
    select(staff("view", "delete"), "cancel_selected", finished)
    assert Process.objects.filter(pk=finished.pk).exists()


# -- on the page of one ------------------------------------------------------------------


def buttons(client: Client, process: Process) -> list[str]:
    html = client.get(url(process)).content.decode()
    return re.findall(r'<form method="post" action="[^"]*/(\w+)/" class="dp-verb">', html)


def test_buttons_that_fit(
    changer: Client, pending: Process, running: Process, finished: Process, failed: Process, overdue: Process
) -> None:
    assert buttons(changer, pending) == ["cancel", "expire"]
    assert buttons(changer, running) == ["cancel", "expire"]
    assert buttons(changer, finished) == []
    assert buttons(changer, failed) == ["retry"]
    assert buttons(changer, overdue) == []
    running.cancel()
    assert buttons(changer, running) == ["expire"]


def test_who_may_only_look_has_no_buttons(viewer: Client, pending: Process, failed: Process) -> None:
    assert buttons(viewer, pending) == buttons(viewer, failed) == []


def test_cancel_button(changer: Client, pending: Process, running: Process) -> None:
    assert press(changer, "cancel", pending) == ["1 process was cancelled."]
    assert press(changer, "cancel", running) == ["1 process was asked to stop; it does so at its next report."]
    assert (status(pending), status(running)) == ("cancelled", "running")


def test_expire_button(changer: Client, running: Process) -> None:
    assert press(changer, "expire", running) == ["1 process was expired."]
    assert status(running) == "expired"


def test_retry_button_leads_to_the_new_one(changer: Client, failed: Process) -> None:
    answer = changer.post(url(failed, "retry"))
    again = failed.retries.get()
    assert answer["Location"] == url(again)
    assert changer.post(url(failed, "retry"))["Location"] == url(again)


def test_button_pressed_too_late(changer: Client, finished: Process) -> None:
    for verb in ("cancel", "expire"):
        assert press(changer, verb, finished) == ["1 process was left as it is, because it has finished."]
    assert press(changer, "retry", finished) == ["1 process can't be started again, because it has no task."]


@pytest.mark.parametrize("verb", ["cancel", "expire", "retry"])
def test_buttons_need_the_permission_a_post_and_a_token(
    viewer: Client, changer: Client, client: Client, running: Process, verb: str
) -> None:
    address = url(running, verb)
    assert changer.get(address).status_code == 405
    assert viewer.post(address).status_code == 403
    assert client.post(address).status_code == 302  # to the login page
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = changer.cookies
    assert strict.post(address).status_code == 403
    assert status(running) == "running"
    assert not running.attempt_set.filter(cancel_requested_at__isnull=False).exists()


def test_buttons_carry_a_token_that_is_accepted(changer: Client, pending: Process) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = changer.cookies
    html = strict.get(url(pending)).content.decode()
    token = re.search(r'class="dp-verb">\s*<input type="hidden" name="csrfmiddlewaretoken" value="(\w+)"', html)
    assert token
    assert strict.post(url(pending, "cancel"), {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert status(pending) == "cancelled"


@pytest.mark.parametrize("key", ["0", "nonsense", "1/2"])
def test_button_of_no_process(changer: Client, key: str) -> None:
    assert changer.post(f"{URL}{key}/cancel/").status_code == 404


# -- deleting ----------------------------------------------------------------------------


@pytest.fixture
def deleter(staff: Callable[..., Client]) -> Client:
    return staff("view", "delete")


def test_delete_one_that_has_finished(deleter: Client, finished: Process) -> None:
    assert "deletelink" in deleter.get(url(finished)).content.decode()
    asked = deleter.get(url(finished, "delete")).content.decode()
    assert "Processes: 1" in asked
    assert "Events: 2" in asked
    assert deleter.post(url(finished, "delete"), {"post": "yes"}).status_code == 302
    assert not Process.objects.exists()
    assert not Event.objects.exists()


def test_delete_one_that_is_overdue(deleter: Client, overdue: Process) -> None:
    deleter.post(url(overdue, "delete"), {"post": "yes"})
    assert not Process.objects.exists()


@pytest.mark.parametrize("which", ["pending", "running", "manual"])
def test_active_one_is_not_deleted(deleter: Client, request: pytest.FixtureRequest, which: str) -> None:
    process = request.getfixturevalue(which)
    assert "deletelink" not in deleter.get(url(process)).content.decode()
    assert deleter.get(url(process, "delete")).status_code == 403
    assert deleter.post(url(process, "delete"), {"post": "yes"}).status_code == 403
    assert Process.objects.exists()


def test_delete_selected(deleter: Client, finished: Process, failed: Process, manual: Process) -> None:
    data = {"action": "delete_selected", "_selected_action": [finished.pk, failed.pk]}
    asked = deleter.post(URL, data).content.decode()
    assert "Processes: 2" in asked
    assert "Has finished" in asked
    assert Process.objects.count() == 3
    assert select(deleter, "delete_selected", finished, failed, post="yes") == ["Successfully deleted 2 processes."]
    assert Process.objects.get() == manual


def test_delete_selected_refuses_active_ones(deleter: Client, finished: Process, pending: Process) -> None:
    for confirmed in ({}, {"post": "yes"}):
        data = {"action": "delete_selected", "_selected_action": [finished.pk, pending.pk], **confirmed}
        answer = deleter.post(URL, data).content.decode()
        assert "Only processes that have finished can be deleted" in answer
        assert "Waits for a worker" in answer
        assert "Has finished" not in answer
        assert Process.objects.count() == 2


def test_deleting_many_events_asks_in_few_words(deleter: Client, finished: Process, failed: Process) -> None:
    add_events(finished, 5_000)
    data = {"action": "delete_selected", "_selected_action": [finished.pk, failed.pk]}
    with CaptureQueriesContext(connection) as queries:
        answer = deleter.post(URL, data).content.decode()
    assert len(queries) <= 15
    assert len(answer) < 20_000
    assert "Events: 5004" in answer.replace(",", "")
    assert not Attempt.objects.exists()


def test_deleting_is_in_the_history(deleter: Client, finished: Process) -> None:
    deleter.post(url(finished, "delete"), {"post": "yes"})
    entry = LogEntry.objects.get()
    assert entry.is_deletion()
    assert entry.object_repr == "Has finished"
