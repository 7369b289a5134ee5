"""Numbers that are none, other people, verbs that are no POST, and messages that are no JSON: none of it gets in."""

from __future__ import annotations

import itertools
import pickle
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django_celery_results.models import TaskResult

from django_progress.models import AuditEntry, Process
from tests.access.asking import HTMX, JSON, READING, ask, check_refusal, is_login, routes, state, url_of
from tests.celery import add
from tests.executing import fresh, start
from tests.faults.browsers import browser_of, started_by
from tests.unit.conftest import engine
from tests.workers import Broker, run_worker, wait_until

__all__ = ["engine"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="for ann")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben", password="for ben")


@pytest.mark.parametrize("after", ["-1", "abc", "1" + "0" * 30, "9" * 5_000, "1e3", "٣", "", "\0"])
def test_fault_54_after_what_is_no_number(ann: User, after: str) -> None:
    process = Process.objects.start("Work", owner=ann)
    answer = browser_of(ann).get(url_of("process-events", process), {"after": after})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_after")


@pytest.mark.parametrize("limit", [10**9, 10**30])
def test_fault_54_a_limit_without_bounds(ann: User, settings: Any, limit: int) -> None:
    settings.DJANGO_PROGRESS = {"EVENTS_PAGE_SIZE": 3}
    process = Process.objects.start("Work", owner=ann)
    for number in range(5):
        process.log(f"line {number}")
    answer = browser_of(ann).get(url_of("process-events", process), {"limit": limit})
    assert [event["seq"] for event in answer.json()["events"]] == [1, 2, 3]


def test_fault_54_forged_places_to_go_on_from(ann: User, ben: User) -> None:
    process = Process.objects.start("Work", owner=ann)
    theirs = Process.objects.start("Secret work", owner=ben)
    for forged in ("-1", "x", "9" * 5_000, "\0", str(theirs.key), str(theirs.pk)):
        for name in ("process-list", "process-list-fragment"):
            answer = browser_of(ann).get(url_of(name), {"before": forged, "kind": forged, "status": forged})
            assert answer.status_code == 200
            assert b"Secret" not in answer.content
        for name in routes("page"):
            query = {"dp-copy": forged, "as": forged}
            assert browser_of(ann).get(url_of(name, process), query).status_code == 200
        # Where there is no stream, its header means nothing.
        answer = browser_of(ann).get(url_of("process-events", process), headers={"Last-Event-ID": forged})
        assert [event["seq"] for event in answer.json()["events"]] == [1]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("who", ["another user", "nobody"])
def test_fault_68_another_user_and_nobody(ann: User, ben: User, who: str) -> None:
    """The whole matrix is in tests/access."""
    process = start("Import airports", owner=ann)
    client = browser_of(ben if who == "another user" else None)
    for name in routes("page") + routes("json"):
        for method, query, headers in READING:
            answer = check_refusal(client, process, method, url_of(name, process) + query, headers)
            assert answer.status_code == 404 or (who == "nobody" and is_login(answer, headers))
    before = state(process)
    for name, headers in itertools.product(routes("verb"), ({}, HTMX, JSON)):
        answer = check_refusal(client, process, "POST", url_of(name, process), headers)
        assert answer.status_code == 404 or (who == "nobody" and is_login(answer, headers))
    assert state(process) == before
    assert not AuditEntry.objects.exists()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [{}, HTMX, JSON], ids=["browser", "htmx", "program"])
def test_fault_69_a_verb_by_get(ann: User, method: str, headers: dict[str, str]) -> None:
    active, failed = start(owner=ann), start(owner=ann)
    failed.fail("No.")
    before = state(active), state(failed)
    for name, process in itertools.product(routes("verb"), (active, failed)):
        answer = ask(browser_of(ann), method, url_of(name, process), headers)
        assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert (state(active), state(failed)) == before


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("headers", [{}, HTMX, JSON, {"X-CSRFToken": "x" * 32}], ids=["browser", "htmx", "json", "bad"])
@pytest.mark.parametrize("who", ["owner", "visitor"])
def test_fault_69_a_verb_without_the_csrf_token(ann: User, who: str, headers: dict[str, str]) -> None:
    client = browser_of(ann if who == "owner" else None, enforce_csrf_checks=True)
    processes = [started_by(client), started_by(client)]
    processes[1].fail("No.")
    before = [state(process) for process in processes]
    for name, process in itertools.product(routes("verb"), processes):
        assert ask(client, "POST", url_of(name, process), headers).status_code == 403
    assert [state(process) for process in processes] == before
    page = client.get(processes[0].get_absolute_url()).content.decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    assert client.post(url_of("process-cancel", processes[0]), {"csrfmiddlewaretoken": token}).status_code == 303
    assert fresh(processes[0]).status == "cancelled"


REFUSED = "Refusing to deserialize untrusted content|Can't decode message body|Received invalid task message"


class Touch:
    """What creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.worker
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("named", ["application/x-python-serialize", "application/json", "application/octet-stream"])
def test_fault_77_a_pickled_message_is_refused(broker: Broker, tmp_path: Path, named: str) -> None:
    touched = tmp_path / "unpickled"
    body = pickle.dumps(((Touch(touched),), {}, {}))
    pickle.loads(body)
    assert touched.exists()
    touched.unlink()
    headers = {"task": "travel.patient", "id": str(uuid.uuid4()), "lang": "py", "root_id": None, "parent_id": None}
    with run_worker(broker, patience=0) as worker:
        with broker.connection() as connection, connection.Producer() as producer:
            producer.publish(
                body,
                content_type=named,
                content_encoding="binary",
                headers=headers,
                correlation_id=headers["id"],
                exchange=broker.queue,
                routing_key=broker.queue,
            )
        wait_until(lambda: touched.exists() or re.search(REFUSED, worker.output), timeout=60, what="an answer")
        # It goes on with what comes after.
        result = add.delay(2, 3)
        wait_until(TaskResult.objects.filter(task_id=result.id, status="SUCCESS").first, timeout=60)
        assert not touched.exists()
        assert not TaskResult.objects.filter(task_id=headers["id"]).exists()
