"""The page of one process in admin, and those of its events and attempts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from django_progress.admin.page import RETRIES_SHOWN
from django_progress.admin.process import ATTEMPTS_SHOWN, EVENTS_SHOWN
from django_progress.models import Attempt, Process
from tests.admin.conftest import add_events

SCRIPT = "<script>alert(1)</script>"


def url(process: Process, action: str = "change") -> str:
    return reverse(f"admin:django_progress_process_{action}", args=[process.pk])


def page(client: Client, process: Process) -> str:
    answer = client.get(url(process))
    assert answer.status_code == 200
    return answer.content.decode()


def section(html: str, name: str) -> str:
    """Return the table of attempts or events, and what stands above it."""
    found = re.search(rf'<h2 id="dp-{name}">.*?(?=<h2|<div class="submit-row)', html, re.DOTALL)
    assert found
    return found[0]


def attempt(process: Process, number: int, **fields: Any) -> Attempt:
    now = timezone.now()
    given = {"outcome": "failed", "started_at": now, "finished_at": now, "task_id": f"task-{number}"} | fields
    return Attempt.objects.create(
        process=process, number=number, attempt_number=number, token=f"{process.pk}-{number}", **given
    )


# -- read-only ---------------------------------------------------------------------------


def test_nothing_can_be_typed(changer: Client, running: Process) -> None:
    html = page(changer, running)
    fields = re.findall(r"<(?:input|select|textarea)\b[^>]*>", html)
    # The sidebar's filter is the admin's own.
    assert [field for field in fields if 'type="hidden"' not in field and 'id="nav-filter"' not in field] == []
    assert 'name="_save"' not in html


@pytest.mark.parametrize("data", [{"status": "succeeded"}, {"status": "succeeded", "_save": "Save"}, {"_continue": ""}])
def test_posted_values_are_refused(staff: Callable[..., Client], running: Process, data: dict[str, str]) -> None:
    client = staff("view", "change", "add", "delete")
    assert client.post(url(running), data).status_code == 403
    running.refresh_from_db()
    assert running.status == "running"


@pytest.mark.parametrize("kind", ["event", "attempt"])
def test_parts_are_read_only_too(staff: Callable[..., Client], running: Process, kind: str) -> None:
    client = staff("view", "change", "delete")
    part = getattr(running, f"{kind}_set").first()
    name = f"admin:django_progress_{kind}"
    one = reverse(f"{name}_change", args=[part.pk])
    assert client.get(one).status_code == 200
    assert client.post(one, {}).status_code == 403
    assert client.get(reverse(f"{name}_add")).status_code == 403
    assert client.post(reverse(f"{name}_delete", args=[part.pk]), {"post": "yes"}).status_code == 403
    assert "action-select" not in client.get(reverse(f"{name}_changelist")).content.decode()


def test_unknown_process(viewer: Client) -> None:
    assert viewer.get(reverse("admin:django_progress_process_change", args=[0])).status_code == 302


# -- what it shows -----------------------------------------------------------------------


def test_finished_one(viewer: Client, finished: Process) -> None:
    html = page(viewer, finished)
    assert str(finished.key) in html
    assert f'href="{finished.get_absolute_url()}"' in html
    assert "&quot;rows&quot;: 28000" in html
    assert "&quot;upload&quot;: 3" in html
    assert reverse("admin:auth_user_change", args=[finished.owner.pk]) in html
    for heading in ("Error detail", "Messages", "Leads to", "Task", "Attempts"):
        assert f"{heading}:</label>" not in html
    assert "dp-attempts" not in html


def test_detail_of_an_error_is_for_staff(viewer: Client, failed: Process) -> None:
    html = page(viewer, failed)
    assert "Something went wrong on our side." in html
    assert failed.error_reference in html
    assert "ValueError: /srv/secret" in html


def test_overdue_one_is_shown_as_expired(viewer: Client, overdue: Process) -> None:
    assert "dp-status dp-expired" in page(viewer, overdue)


def test_destinations(viewer: Client) -> None:
    process = Process.objects.start("Leads on", success_url="/results/{key}/", redirect_url="/home/")
    Process.objects.filter(pk=process.pk).update(failure_url="javascript:alert(1)")
    html = page(viewer, process)
    assert f'<a href="/results/{process.key}/">/results/{process.key}/</a>' in html
    assert '<a href="/home/">' in html
    assert 'href="javascript' not in html
    assert "javascript:alert(1)" in html


def test_retries_are_linked_both_ways(viewer: Client, failed: Process) -> None:
    retry = failed.retry()
    assert f'href="{url(retry)}"' in page(viewer, failed)
    assert f'href="{url(failed)}"' in page(viewer, retry)


def test_many_retries(viewer: Client, failed: Process) -> None:
    for _ in range(RETRIES_SHOWN + 1):
        failed.retry().fail("Again.")
    html = page(viewer, failed)
    everything = f"{reverse('admin:django_progress_process_changelist')}?retry_of={failed.pk}"
    assert f'href="{everything}"' in html
    assert len(viewer.get(everything).context["cl"].result_list) == RETRIES_SHOWN + 1


def test_large_json_is_cut(viewer: Client, finished: Process) -> None:
    Process.objects.filter(pk=finished.pk).update(result={"rows": ["x" * 900_000]})
    html = page(viewer, finished)
    assert len(html) < 100_000
    assert re.search(r"8\d\d,\d\d\d more characters are not shown", html)


def test_page_in_another_language(viewer: Client, running: Process) -> None:
    assert viewer.get(url(running), headers={"Accept-Language": "de"}).status_code == 200


# -- events ------------------------------------------------------------------------------


def test_events_are_shown_newest_last(viewer: Client, manual: Process) -> None:
    manual.milestone("halfway", "Half of it", details={"rows": 5})
    manual.log("A line")
    html = section(page(viewer, manual), "events")
    assert html.index("Started.") < html.index("Half of it") < html.index("A line")
    assert "{&quot;rows&quot;: 5}" in html
    assert "not shown" not in html


def test_ten_thousand_events(viewer: Client, manual: Process) -> None:
    with CaptureQueriesContext(connection) as with_one:
        page(viewer, manual)
    add_events(manual, 9_999)
    with CaptureQueriesContext(connection) as queries:
        html = page(viewer, manual)
    assert len(queries) <= len(with_one) + 1 <= 15
    assert len(html) < 150_000
    events = section(html, "events")
    assert "9900 earlier events are not shown" in events.replace(",", "")
    assert events.count("<tr>") == EVENTS_SHOWN + 1
    assert "line 9901" in events
    assert "line 10000" in events
    everything = f"{reverse('admin:django_progress_event_changelist')}?process={manual.pk}"
    assert f'href="{everything}"' in events
    with CaptureQueriesContext(connection) as queries:
        listed = viewer.get(everything).context["cl"]
    assert listed.result_count == 10_000
    assert len(queries) <= 8


def test_long_events_are_cut(viewer: Client, manual: Process) -> None:
    add_events(manual, 200)
    manual.event_set.update(message="x" * 2_000, details={"much": "y" * 100_000})
    assert len(page(viewer, manual)) < 500_000


def test_list_of_events(viewer: Client, manual: Process, finished: Process) -> None:
    manual.milestone("halfway", "Half of it")
    events = reverse("admin:django_progress_event_changelist")
    found = viewer.get(events, {"q": str(manual.key)}).context["cl"].result_list
    assert {event.process for event in found} == {manual}
    assert [event.name for event in viewer.get(events, {"q": "halfway"}).context["cl"].result_list] == ["halfway"]
    html = viewer.get(events, {"q": manual.key.hex}).content.decode()
    assert f'<a href="{url(manual)}">' in html
    one = manual.event_set.get(name="halfway")
    assert "Half of it" in viewer.get(reverse("admin:django_progress_event_change", args=[one.pk])).content.decode()


@pytest.mark.parametrize("kind", ["event", "attempt"])
def test_lists_of_parts_have_no_query_for_each_row(viewer: Client, pending: Process, kind: str) -> None:
    parts = reverse(f"admin:django_progress_{kind}_changelist")
    attempt(pending, 1)
    with CaptureQueriesContext(connection) as few:
        viewer.get(parts)
    add_events(pending, 50)
    for number in range(2, 50):
        attempt(pending, number)
    with CaptureQueriesContext(connection) as many:
        viewer.get(parts)
    assert len(few) == len(many)


def test_parts_need_the_permission_on_processes(staff: Callable[..., Client], running: Process) -> None:
    for kind in ("event", "attempt"):
        assert staff().get(reverse(f"admin:django_progress_{kind}_changelist")).status_code == 403
        assert staff("change").get(reverse(f"admin:django_progress_{kind}_changelist")).status_code == 200
    index = staff("view").get(reverse("admin:index")).content.decode()
    assert "Processes" in index
    assert "Attempts" not in index


# -- attempts and Celery's results -------------------------------------------------------


def test_attempts(viewer: Client, running: Process) -> None:
    html = section(page(viewer, running), "attempts")
    assert "celery@here" in html
    assert running.task_id in html
    assert "dp-status dp-running" in html


def test_attempts_that_failed(viewer: Client, pending: Process) -> None:
    attempt(pending, 1, error="It went wrong.", error_reference="REFER3NC", error_detail=f"Traceback {SCRIPT}")
    html = section(page(viewer, pending), "attempts")
    assert "REFER3NC" in html
    assert "Traceback &lt;script&gt;" in html


def test_no_attempt_yet(viewer: Client, pending: Process) -> None:
    assert "No worker has taken it yet." in page(viewer, pending)


def test_many_attempts(viewer: Client, pending: Process) -> None:
    for number in range(1, ATTEMPTS_SHOWN + 11):
        attempt(pending, number)
    html = section(page(viewer, pending), "attempts")
    assert "10 earlier attempts are not shown" in html
    assert "<code>task-10</code>" not in html
    assert "<code>task-60</code>" in html
    everything = f"{reverse('admin:django_progress_attempt_changelist')}?process={pending.pk}"
    assert f'href="{everything}"' in html
    assert viewer.get(everything).context["cl"].result_count == 60


@pytest.fixture
def result_viewer(staff: Callable[..., Client]) -> Client:
    client = staff("view")
    user = User.objects.latest("pk")
    user.user_permissions.add(Permission.objects.get(codename="view_taskresult"))
    return client


def test_attempts_lead_to_celery_results_that_exist(result_viewer: Client, pending: Process) -> None:
    first, second, _third = (attempt(pending, number) for number in (1, 2, 3))
    rows = {one.task_id: TaskResult.objects.create(task_id=one.task_id) for one in (first, second)}
    html = section(page(result_viewer, pending), "attempts")
    for task_id, row in rows.items():
        link = reverse("admin:django_celery_results_taskresult_change", args=[row.pk])
        assert f'<a href="{link}"><code>{task_id}</code></a>' in html
        assert result_viewer.get(link).status_code == 200
    assert "<code>task-3</code>" in html
    assert html.count("<a ") == 2


def test_celery_results_are_looked_up_at_once(result_viewer: Client, pending: Process) -> None:
    counts = []
    for numbers in (range(1, 2), range(2, 40)):
        for number in numbers:
            TaskResult.objects.create(task_id=attempt(pending, number).task_id)
        with CaptureQueriesContext(connection) as queries:
            page(result_viewer, pending)
        counts.append(sum("taskresult" in query["sql"] for query in queries))
    assert counts == [1, 1]


def test_who_may_not_see_celery_results_gets_no_link(viewer: Client, pending: Process) -> None:
    TaskResult.objects.create(task_id=attempt(pending, 1).task_id)
    assert "<a " not in section(page(viewer, pending), "attempts")


def test_celery_results_without_their_admin(
    result_viewer: Client, pending: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    TaskResult.objects.create(task_id=attempt(pending, 1).task_id)
    monkeypatch.delitem(admin.site._registry, TaskResult)
    assert "<a " not in section(page(result_viewer, pending), "attempts")


# -- hostile content (fault 70) ----------------------------------------------------------


@pytest.fixture
def hostile(owner: User) -> Process:
    process = Process.objects.start(
        SCRIPT, owner=owner, context={SCRIPT: SCRIPT}, unit=SCRIPT[:32], total=10, details={SCRIPT: SCRIPT}
    )
    process.set_progress(3)
    process.milestone(f"a{SCRIPT}", SCRIPT, type=f"t{SCRIPT}", details={SCRIPT: SCRIPT})
    process.set_message(SCRIPT, SCRIPT)
    process.log(SCRIPT)
    process.set_result({SCRIPT: [SCRIPT]})
    process.fail(SCRIPT)
    Process.objects.filter(pk=process.pk).update(
        error_detail=SCRIPT, kind=SCRIPT, task_name=SCRIPT, task_kwargs={SCRIPT: SCRIPT}, task_args=[SCRIPT],
        task_id=SCRIPT, error_reference="<script>", success_url=SCRIPT,
    )  # fmt: skip
    User.objects.filter(pk=owner.pk).update(username=SCRIPT)
    attempt(process, 1, task_id=SCRIPT, worker=SCRIPT, error=SCRIPT, error_detail=SCRIPT, error_reference="<script>")
    Process.objects.start("again", owner=owner)
    return process


def test_script_is_inert(result_viewer: Client, staff: Callable[..., Client], hostile: Process) -> None:
    TaskResult.objects.create(task_id=SCRIPT)
    deleter = staff("view", "change", "delete")
    lists = [reverse(f"admin:django_progress_{name}_changelist") for name in ("process", "event", "attempt")]
    pages = [
        url(hostile),
        url(hostile, "delete"),
        url(hostile, "history"),
        *lists,
        f"{lists[0]}?q={SCRIPT}&kind={SCRIPT}",
        reverse("admin:django_progress_event_change", args=[hostile.event_set.get(type="log").pk]),
        reverse("admin:django_progress_attempt_change", args=[hostile.attempt_set.get().pk]),
    ]
    for client in (result_viewer, deleter):
        for address in pages:
            answer = client.get(address)
            if client is deleter or "delete" not in address:
                assert answer.status_code == 200, address
            html = answer.content.decode()
            assert "<script>alert" not in html
            assert "<script>&" not in html
    assert "&lt;script&gt;alert(1)" in result_viewer.get(url(hostile)).content.decode()


def test_right_to_left_text_is_isolated(viewer: Client) -> None:
    process = Process.objects.start("\u202eevil")
    process.milestone("evil", "\u202emilestone")
    process.set_message("\u202ekey", "\u202evalue")
    html = page(viewer, process)
    for text in ("milestone", "key", "value"):
        assert f"<bdi>\u202e{text}</bdi>" in html
    lists = reverse("admin:django_progress_process_changelist")
    assert "<bdi>\u202eevil</bdi>" in viewer.get(lists).content.decode()


def test_nothing_inline(changer: Client, hostile: Process) -> None:
    """Everything runs under a policy of default-src 'self'."""
    for address in (url(hostile), reverse("admin:django_progress_process_changelist")):
        html = changer.get(address).content.decode()
        ours = re.sub(r"<script\b[^>]*\bsrc=[^>]*>\s*</script>", "", html)
        ours = re.sub(r'<script id="[\w-]+" type="application/json">.*?</script>', "", ours)
        assert "<script" not in ours
        assert not re.search(r"<[^>]*\s(style|on\w+)=", ours)
        assert 'href="/static/django_progress/admin.css"' in html
