"""The list of processes in admin."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_progress.models import Attempt, Process
from django_progress.status import Status

URL = reverse("admin:django_progress_process_changelist")


def titles(client: Client, **query: Any) -> set[str]:
    """Return the descriptions of the processes that are listed."""
    answer = client.get(URL, query)
    assert answer.status_code == 200
    return {process.description for process in answer.context["cl"].result_list}


def cells(client: Client, process: Process) -> dict[str, str]:
    """Return the HTML of a row's cells by the name of their column."""
    answer = client.get(URL, {"q": str(process.key)})
    found = re.findall(r'<t[hd] class="[^"]*field-(\w+)[^"]*">(.*?)</t[hd]>', answer.content.decode(), re.DOTALL)
    return dict(found)


def bar(html: str) -> tuple[str, str | None, str]:
    """Return the name, the value and the text of a bar."""
    found = re.search(
        r'<progress aria-label="([^"]+)"(?: max="1" value="([\d.]+)")?></progress> <span>(.*?)</span>', html
    )
    assert found, html
    return found[1], found[2], found[3]


def many(number: int, owner: User) -> None:
    statuses = [Status.PENDING, Status.RUNNING, Status.SUCCEEDED, Status.FAILED]
    now = timezone.now()
    processes = Process.objects.bulk_create(
        Process(
            owner=User.objects.create_user(f"{owner.username}-{index}"),
            description=f"Number {index}",
            kind=f"kind-{index % 3}",
            status=statuses[index % 4],
            current=index,
            total=100 if index % 2 else None,
            task_name="task",
            created_at=now - timedelta(days=index),
            updated_at=now,
            finished_at=now if index % 4 >= 2 else None,
            expires_at=now - timedelta(minutes=1) if index % 5 == 0 else None,
        )
        for index in range(number)
    )
    Attempt.objects.bulk_create(
        Attempt(
            process=process, token=process.key.hex, number=1, attempt_number=1, started_at=now, cancel_requested_at=now
        )
        for process in processes
    )
    for process in processes:
        Process.objects.filter(pk=process.pk, status=Status.RUNNING).update(attempt_token=process.key.hex)


# -- cost --------------------------------------------------------------------------------


def test_queries_do_not_grow_with_the_rows(changer: Client, owner: User) -> None:
    many(10, owner)
    with CaptureQueriesContext(connection) as at_ten:
        assert len(changer.get(URL).context["cl"].result_list) == 10
    many(90, User(username="more"))
    with CaptureQueriesContext(connection) as at_hundred:
        assert len(changer.get(URL).context["cl"].result_list) == 100
    assert len(at_hundred) == len(at_ten) <= 10


def test_rows_come_without_their_json(viewer: Client, finished: Process) -> None:
    with CaptureQueriesContext(connection) as queries:
        viewer.get(URL)
    listed = [query["sql"] for query in queries if '"description"' in query["sql"].replace("`", '"')]
    assert len(listed) == 1
    assert not re.search(r"\W(result|context|task_kwargs|error_detail|message_pairs)\W", listed[0])


def test_nothing_is_counted_twice(viewer: Client, finished: Process) -> None:
    with CaptureQueriesContext(connection) as queries:
        viewer.get(URL, {"q": "finished"})
    counted = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert len(counted) == 1
    assert "attempt_token" not in counted[0]


def test_reading_writes_nothing(viewer: Client, overdue: Process) -> None:
    with CaptureQueriesContext(connection) as queries:
        viewer.get(URL)
        viewer.get(reverse("admin:django_progress_process_change", args=[overdue.pk]))
    assert not [query for query in queries if re.match(r"(UPDATE|INSERT|DELETE)", query["sql"])]
    overdue.refresh_from_db()
    assert overdue.status == Status.RUNNING


# -- what a row shows --------------------------------------------------------------------


def test_row(viewer: Client, pending: Process) -> None:
    row = cells(viewer, pending)
    url = reverse("admin:django_progress_process_change", args=[pending.pk])
    assert f'<a href="{url}' in row["what"]
    assert "Waits for a worker" in row["what"]
    assert row["status_badge"] == '<span class="dp-status dp-pending">Waiting</span>'
    assert row["kind"] == "report"
    assert "olga" in row["owner"]
    assert row["attempts"] == "0 of 50"
    assert "created_at" in row


def test_overdue_is_shown_as_expired(viewer: Client, overdue: Process) -> None:
    row = cells(viewer, overdue)
    assert "dp-expired" in row["status_badge"]
    assert row["time_taken"] == "1 min"


def test_request_to_stop_is_shown(viewer: Client, running: Process) -> None:
    assert "asked to stop" not in cells(viewer, running)["status_badge"]
    running.cancel()
    assert "asked to stop" in cells(viewer, running)["status_badge"]


def test_without_a_task_there_are_no_attempts(viewer: Client, manual: Process) -> None:
    assert cells(viewer, manual)["attempts"] == "-"


def test_time_against_the_deadline_is_no_share(viewer: Client) -> None:
    process = Process.objects.start("Waits", max_duration=7200)
    row = cells(viewer, process)
    assert row["time_taken"].endswith("of at most 2 h")
    assert "<progress" not in row["progress"]
    assert row["progress"] == "-"
    process.milestone("asked", "Asked at the door")
    assert cells(viewer, process)["progress"] == "<bdi>Asked at the door</bdi>"


@pytest.mark.parametrize(
    ("current", "total", "unit", "value", "text"),
    [
        (50, 200, "rows", "0.2500", "25 %"),
        (1240, None, "rows", None, "1,240 rows"),
        (0, 200, "", "0.0000", "0 %"),
        (199.9, 200, "", "0.9995", "99 %"),
        (300, 200, "", None, "300 of 200"),
        (0, 0, "", None, "0 of 0"),
        (2.5, None, "GB", None, "2.5 GB"),
    ],
)
def test_bar_of_a_running_one(
    viewer: Client, manual: Process, current: float, total: float | None, unit: str, value: str | None, text: str
) -> None:
    Process.objects.filter(pk=manual.pk).update(current=current, total=total, unit=unit)
    assert bar(cells(viewer, manual)["progress"]) == ("Progress of Is moved from outside", value, text)


def test_bar_of_success_is_full_and_its_count_true(viewer: Client) -> None:
    process = Process.objects.start("Counts", total=100, unit="rows")
    process.set_progress(40)
    process.succeed()
    assert bar(cells(viewer, process)["progress"])[1:] == ("1.0000", "40 of 100 rows")


def test_bar_of_success_without_counts_has_no_number(viewer: Client, finished: Process) -> None:
    assert bar(cells(viewer, finished)["progress"])[1:] == ("1.0000", "")


def test_failure_keeps_its_last_count(viewer: Client) -> None:
    process = Process.objects.start("Counts", total=100)
    process.set_progress(40)
    process.fail("Broken.")
    assert bar(cells(viewer, process)["progress"])[1:] == ("0.4000", "40 of 100")


def test_failure_is_never_shown_as_complete(viewer: Client) -> None:
    process = Process.objects.start("Counts", total=100)
    process.set_progress(100)
    process.fail("Broken at the very end.")
    assert cells(viewer, process)["progress"] == "100 of 100"


def test_long_description_is_shortened(viewer: Client) -> None:
    process = Process.objects.start("word " * 300)
    assert len(cells(viewer, process)["what"]) < 300


# -- filters -----------------------------------------------------------------------------


@pytest.fixture
def all_sorts(pending: Process, running: Process, finished: Process, failed: Process, overdue: Process) -> None:
    return None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", {"Waits for a worker"}),
        ("running", {"Runs in a task"}),
        ("succeeded", {"Has finished"}),
        ("failed", {"Has failed"}),
        ("expired", {"Is past its deadline"}),
        ("cancelled", set()),
    ],
)
def test_filter_by_the_status_that_is_shown(viewer: Client, all_sorts: None, status: str, expected: set[str]) -> None:
    assert titles(viewer, status=status) == expected


def test_unknown_status_is_ignored(viewer: Client, all_sorts: None) -> None:
    assert len(titles(viewer, status="' OR 1=1")) == 5


def test_filter_by_kind(viewer: Client, all_sorts: None) -> None:
    assert titles(viewer, kind="import") == {"Runs in a task"}
    assert titles(viewer, kind="") == {"Has finished", "Has failed", "Is past its deadline"}
    html = viewer.get(URL).content.decode()
    assert re.search(r'<a href="\?kind=">\s*None\s*</a>', html)


def test_filter_by_having_an_owner(viewer: Client, manual: Process, finished: Process) -> None:
    assert titles(viewer, owner__isempty="1") == {"Is moved from outside"}
    assert titles(viewer, owner__isempty="0") == {"Has finished"}


def test_filter_by_day(viewer: Client, manual: Process, finished: Process) -> None:
    Process.objects.filter(pk=manual.pk).update(created_at=timezone.now() - timedelta(days=40))
    assert titles(viewer, created_at__gte=str(timezone.now() - timedelta(days=7))) == {"Has finished"}
    assert titles(viewer, created_at__year=timezone.now().year + 1) == set()


def test_database_without_time_zones(viewer: Client, finished: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB as it is after its installation."""
    monkeypatch.setattr(connection.features, "has_zoneinfo_database", False)
    assert titles(viewer) == {"Has finished"}
    assert "toplinks" not in viewer.get(URL).content.decode()
    monkeypatch.setattr(connection.features, "has_zoneinfo_database", True)
    if connection.vendor != "mysql":
        assert "toplinks" in viewer.get(URL).content.decode()


def test_counts_beside_the_filters(viewer: Client, all_sorts: None) -> None:
    html = viewer.get(URL, {"_facets": "True"}).content.decode()
    assert "Expired (1)" in html
    assert "Cancelled (0)" in html


# -- search ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "term",
    [
        lambda process: "runs",
        lambda process: "TASK runs",
        lambda process: "import",
        lambda process: str(process.key),
        lambda process: process.key.hex,
        lambda process: f" {str(process.key).upper()} ",
        lambda process: process.task_id,
    ],
    ids=["word", "words", "kind", "key", "key without hyphens", "key in capitals", "task id"],
)
def test_search(viewer: Client, running: Process, manual: Process, term: Callable[[Process], str]) -> None:
    assert titles(viewer, q=term(running)) == {"Runs in a task"}


def test_search_by_owner(viewer: Client, manual: Process, finished: Process) -> None:
    assert titles(viewer, q="olga") == {"Has finished"}


def test_search_by_reference(viewer: Client, failed: Process, finished: Process) -> None:
    assert titles(viewer, q=failed.error_reference.lower()) == {"Has failed"}


def test_search_by_what_an_earlier_attempt_left(viewer: Client, pending: Process, finished: Process) -> None:
    now = timezone.now()
    for number in (1, 2):
        Attempt.objects.create(
            process=pending, number=number, attempt_number=number, started_at=now, finished_at=now, outcome="failed",
            token=str(number), task_id="an-earlier-task", error_reference="REFER3NC",
        )  # fmt: skip
    for term in ("an-earlier-task", "REFER3NC", "refer3nc"):
        answer = viewer.get(URL, {"q": term})
        assert [process.pk for process in answer.context["cl"].result_list] == [pending.pk]


@pytest.mark.parametrize("term", ["nothing like it", "00000000-0000-4000-8000-000000000000", "%", "\\"])
def test_search_finds_nothing(viewer: Client, running: Process, term: str) -> None:
    assert titles(viewer, q=term) == set()


def test_search_and_filter_together(viewer: Client, all_sorts: None) -> None:
    assert titles(viewer, q="olga", status="failed") == {"Has failed"}


# -- permissions -------------------------------------------------------------------------


def test_no_permission(staff: Callable[..., Client], finished: Process) -> None:
    nobody = staff()
    assert nobody.get(URL).status_code == 403
    assert nobody.get(reverse("admin:django_progress_process_change", args=[finished.pk])).status_code == 403
    assert "Has finished" not in nobody.get(reverse("admin:index")).content.decode()


def test_not_staff(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get(URL).status_code == 302


@pytest.mark.parametrize("actions", [["view"], ["change"], ["delete", "view"]], ids="+".join)
def test_nobody_adds(staff: Callable[..., Client], actions: list[str]) -> None:
    client = staff(*actions, "add")
    assert client.get(reverse("admin:django_progress_process_add")).status_code == 403
    assert "addlink" not in client.get(URL).content.decode()


VERBS = {"cancel_selected", "expire_selected", "rerun_failed_selected", "retry_selected", "revoke_selected"}


@pytest.mark.parametrize(
    ("actions", "offered"),
    [
        (["view"], set()),
        (["view", "change"], VERBS),
        (["change"], VERBS),
        (["view", "delete"], {"delete_selected"}),
    ],
    ids=lambda value: "+".join(value),
)
def test_actions_that_are_offered(
    staff: Callable[..., Client], manual: Process, actions: list[str], offered: set[str]
) -> None:
    form = staff(*actions).get(URL).context["action_form"]
    found = {name for name, _ in form.fields["action"].choices if name} if form else set()
    assert found == offered
