"""The steps of a workflow on pages: what each row says, for whom, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_progress.clock import DatabaseNow
from django_progress.models import Process, Step
from django_progress.sharing import get_share_url
from django_progress.status import StepStatus
from django_progress.views import step_row
from django_progress.views import steps as module
from django_progress.views.live import Live
from django_progress.views.step_row import StepRow
from django_progress.views.steps import StepTree
from django_progress.workflows import Workflow
from tests.executing import claim, fresh, inside
from tests.workflows.driving import drain, execute, execution, step, take

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Define = Callable[..., Workflow]
SCRIPT = "<script>alert(1)</script>"


def imports(define: Define, count: int = 3, **options: Any) -> Workflow:
    """Define one of all sorts: a check, parallel parts with a child each is made of, and a report."""
    workflow = define(description="Import", **options)
    workflow.step(name="check", description="Checking the file")(lambda step: None)
    items = list(range(count))
    load = workflow.step(name="load", description="Loading", each=lambda results: items, on_failure="continue")(divide)
    workflow.step(name="report", description="Report")(lambda step: None)
    load.step(name="index", description="Indexing")(lambda step: None)
    load.step(name="hubs", description="Hubs", when=lambda results: False)(lambda step: None)
    return workflow


def divide(step: Process, item: int) -> float:
    return 1 / item


def tree(process: Process, **options: Any) -> StepTree:
    row = Process.objects.with_now().get(pk=process.pk)
    return StepTree(row, **{"is_active": row.is_active, "is_linked": True, **options})


def row(process: Process, path: str) -> StepRow:
    return next(row for row in tree(process).rows if row.step.path == path)


def backdated(process: Process, path: str, **ago: float) -> None:
    rows = Step.objects.filter(process=process, path=path)
    rows.update(**{name: DatabaseNow(-seconds) for name, seconds in ago.items()})


# -- what a row says -----------------------------------------------------------------------


def test_steps_stand_before_their_own(define: Define) -> None:
    process = imports(define).start()
    shown = tree(process)
    assert [(row.step.name, row.level, row.under) for row in shown.rows] == [
        ("check", 0, ""), ("load", 0, ""), ("index", 1, "Loading"), ("hubs", 1, "Loading"), ("report", 0, ""),
    ]  # fmt: skip
    assert len({row.id for row in shown.rows}) == 5
    assert shown.done_text == "0 of 5"


def test_many_and_deep_ones(define: Define) -> None:
    workflow = define()
    above: Any = workflow
    for number in range(60):
        above = above.step(name=f"s{number}")(lambda step: None)
    for number in range(60, 520):
        workflow.step(name=f"s{number}", after=[])(lambda step: None)
    shown = tree(workflow.start())
    assert [row.step.name for row in shown.rows] == [f"s{number}" for number in range(500)]
    assert shown.has_more
    assert [row.level for row in shown.rows[:9]] == [0, 1, 2, 3, 4, 5, 6, 6, 6]


def test_words_and_times(define: Define) -> None:
    process = imports(define).start()
    assert (row(process, "#.check").word, row(process, "#.report").word) == ("Waiting", "Not begun")
    with inside(take(process, "#.check")):
        backdated(process, "#.check", started_at=65)
        running = row(process, "#.check")
        assert (running.word, running.time_text, running.is_running) == ("Running", "1 min so far", True)
    process = imports(define).start()
    execute(process, "#.check", "#.load", "#.load[1]", "#.load[2]", "#.load[0]", "#.load.index", "#.load.hubs")
    backdated(process, "#.check", started_at=100, finished_at=58)
    assert row(process, "#.check").time_text == "42 s"
    assert row(process, "#.load.index").time_text == "< 1 s"
    skipped = row(process, "#.load.hubs")
    assert (skipped.word, skipped.time_text) == ("Skipped", "")
    Step.objects.filter(process=process, path="#.check").update(status=StepStatus.STALE)
    assert row(process, "#.check").word == "Out of date"


def test_thousands_of_parts_are_one_row(define: Define) -> None:
    process = imports(define, count=4).start()
    execute(process, "#.check", "#.load", "#.load[0]", "#.load[1]")
    take(process, "#.load[2]")
    loading = row(process, "#.load")
    assert (loading.count_text, loading.failed_text) == ("2 of 4 parts", "1 failed")
    assert loading.bar is not None
    assert loading.bar.value == 50
    assert loading.url == ""
    assert loading.parts_title == "Running and failed parts"
    assert [(part.title, part.word, part.error) for part in loading.parts] == [
        ("#.load[2]", "Running", ""),
        ("#.load[0]", "Failed", "Something went wrong on our side."),
    ]
    assert loading.parts[1].url == execution(process, "#.load[0]").get_absolute_url()


def test_few_parts_are_shown_by_themselves(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARTS", 2)
    process = imports(define, count=6).start()
    execute(process, "#.check", "#.load")
    Step.objects.filter(process=process, index__lt=3).update(status=StepStatus.FAILED)
    Step.objects.filter(process=process, index__gte=3).update(status=StepStatus.RUNNING)
    Step.objects.filter(process=process, path="#.load").update(parts_failed=3)
    paths = [part.step.path for part in row(process, "#.load").parts]
    assert paths == ["#.load[3]", "#.load[4]", "#.load[0]", "#.load[1]"]


def test_what_a_step_says_while_it_runs(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", max_attempts=3, retry_delay=300)(lambda step: None)
    process = workflow.start()
    with inside(take(process, "#.a")) as running:
        running.milestone("europe", "Europe")
        running.set_message("Server", "one")
        running.set_progress(30, 120, "airports")
        shown = row(process, "#.a")
        assert (shown.milestone, shown.messages, shown.attempt_text) == ("Europe", [("Server", "one")], "")
        assert (shown.count_text, shown.bar and shown.bar.value) == ("30 of 120 airports", 25)
        running.set_progress(130)
    from django_progress import dispatch

    dispatch.raised(running._execution(), ValueError("secret"))  # type: ignore[arg-type]
    waiting = row(process, "#.a")
    assert (waiting.state, waiting.word, waiting.bar) == ("again", "Waiting to try again", None)
    assert waiting.next_at is not None
    assert waiting.next_at > timezone.now() + timedelta(minutes=4)
    Process.objects.filter(pk=execution(process, "#.a").pk).update(next_attempt_at=DatabaseNow(-1))
    assert row(process, "#.a").next_at is None
    claim(execution(process, "#.a"))
    assert row(process, "#.a").attempt_text == "attempt 2 of 3"


def test_more_than_there_was_said_to_be_has_no_bar(define: Define) -> None:
    workflow = define()
    workflow.step(name="a")(lambda step: None)
    process = workflow.start()
    with inside(take(process, "#.a")) as running:
        running.set_progress(130, 120, "airports")
    shown = row(process, "#.a")
    assert (shown.bar, shown.count_text) == (None, "130 airports")


def test_what_was_cut_off_does_not_run_any_more(define: Define) -> None:
    process = imports(define).start()
    take(process, "#.check")
    # Past its deadline, which nobody has stored yet.
    Process.objects.filter(pk=process.pk).update(expires_at=DatabaseNow(-1))
    assert row(process, "#.check").word == "Cancelled"


def test_a_reused_step_shows_the_log_of_the_run_that_executed_it(define: Define) -> None:
    workflow = define()
    workflow.step(name="a", debug=lambda results: "executed")(lambda step: None)
    first, second = drain(workflow.start()), workflow.start()
    source = step(first, "#.a")
    rows = Step.objects.filter(process=second)
    rows.update(is_reused=True, source=source, execution=None, status=StepStatus.SUCCEEDED)
    shown = row(second, "#.a")
    assert [event.text for event in shown.log] == ["executed"]
    assert shown.url == ""
    assert shown.execution == source.execution
    rows.update(source=None)
    assert row(second, "#.a").execution is None


# -- logs ----------------------------------------------------------------------------------


def test_logs_are_the_newest_lines(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (module, step_row):
        monkeypatch.setattr(place, "LINES", 3)
    monkeypatch.setattr(module, "RECENT", 10)
    process = imports(define).start()
    for path, count in (("#.check", 5), ("#.load", 12)):
        executed = execution(process, path) if path == "#.check" else None
        if executed is None:
            execute(process, "#.check")
            executed = execution(process, path)
        for number in range(count):
            Process.objects.get(pk=executed.pk).log(f"line {number}", level="warning")
    check, load = row(process, "#.check"), row(process, "#.load")
    assert [event.text for event in check.log] == ["line 2", "line 3", "line 4"]
    assert [event.text for event in load.log] == ["line 9", "line 10", "line 11"]
    assert check.has_earlier
    assert not row(process, "#.report").log


def test_logs_of_few_steps_are_read(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that run, then of those that failed, then of the last that ended."""
    monkeypatch.setattr(module, "LOGGED", 3)
    workflow = define()
    for name in "abcdef":
        workflow.step(name=name, after=[], on_failure="continue", debug=lambda results: "here")(
            (lambda step: 1 / 0) if name == "b" else (lambda step: None)
        )
    process = workflow.start()
    execute(process, "#.a", "#.b", "#.c", "#.d")
    with inside(take(process, "#.f")) as running:
        running.log("running")
    backdated(process, "#.c", finished_at=50)
    backdated(process, "#.a", finished_at=90)
    assert [shown.step.name for shown in tree(process).rows if shown.log] == ["b", "d", "f"]


# -- pages ---------------------------------------------------------------------------------


@pytest.fixture
def process(define: Define, ann: User) -> Process:
    process = imports(define).start(ann)
    execute(process, "#.check", "#.load", "#.load[0]")
    with inside(take(process, "#.load[1]")) as part:
        part.log("begun", level="warning")
    return process


def texts(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_wait_and_status_page_show_the_tree(process: Process, client: Client) -> None:
    for address in (process.get_wait_url(), process.get_absolute_url()):
        page = texts(client, address)
        assert page.count('class="dp-step"') == 7
        assert f'href="{execution(process, "#.check").get_absolute_url()}"' in page
        assert "1 of 3 parts" in page
        assert "<b>Warning:</b> <bdi>begun</bdi>" in page
        assert "28 of 100" not in page


def test_holders_of_a_link_find_nothing_that_leads_on(process: Process) -> None:
    page = texts(Client(), get_share_url(process))
    assert page.count('class="dp-step"') == 7
    live = page[page.index("<section") : page.index("</section>")]
    live = live.replace('<a href="">Refresh now</a>', "")
    for forbidden in ("<a ", "<form", str(execution(process, "#.check").key)):
        assert forbidden not in live


def test_other_ways_to_show_it_have_no_tree(process: Process, django_assert_num_queries: Any) -> None:
    for mode in ("bar", "row", "processing"):
        assert not Live(fresh(process), mode).has_steps
    plain = Process.objects.start("x")
    with django_assert_num_queries(0):
        assert Live(plain, "status").steps is None


def test_the_page_of_a_step_shows_its_log(process: Process, client: Client) -> None:
    page = texts(client, execution(process, "#.load[1]").get_absolute_url())
    assert f'Part of <a href="{process.get_absolute_url()}"><bdi>Import</bdi></a>' in page
    assert "<bdi>begun</bdi>" in page
    own = Process.objects.start("x", owner=User.objects.get())
    own.log("not for pages")
    assert "not for pages" not in texts(client, own.get_absolute_url())


def test_what_is_a_share_already_is_not_counted_too(process: Process) -> None:
    live = Live(fresh(process), "row")
    assert (live.count_text, live.share_text) == ("", "26 %")


def test_fault_70_script_in_steps_is_inert(define: Define, ann: User, client: Client) -> None:
    workflow = define(description="Import")
    workflow.step(name="a", description=SCRIPT, on_failure="continue")(lambda step: None)
    workflow.step(name="b", after=[], each=lambda results: [SCRIPT], description=SCRIPT)(lambda step, item: None)
    process = workflow.start(ann)
    execute(process, "#.b")
    with inside(take(process, "#.a")) as running:
        running.milestone("x", SCRIPT)
        running.log(SCRIPT, level="error")
        running.set_message(SCRIPT, SCRIPT)
        running.set_progress(1, 2, SCRIPT[:32])
    before = texts(client, process.get_absolute_url())
    with inside(take(process, "#.b[0]")) as running:
        running.fail(SCRIPT)
    for page in (before, texts(client, process.get_absolute_url()), texts(Client(), get_share_url(process))):
        assert "alert(1)" in page
        assert SCRIPT not in page
        assert "<script>" not in page


# -- cost ----------------------------------------------------------------------------------


def queries(process: Process, mode: str = "status") -> int:
    row = Process.objects.with_now().get(pk=process.pk)
    with CaptureQueriesContext(connection) as captured:
        live = Live(row, mode)
        assert live.token
        assert live.steps is not None
        for shown in live.steps.rows:
            told = [shown.url, shown.word, shown.error, shown.count_text, shown.bar, shown.messages, shown.log]
            assert len(told) == 7
    return len(captured)


def test_the_tree_costs_the_same_for_any_number_of_parts(define: Define) -> None:
    costs = {}
    for count in (10, 1_000):
        process = imports(define, count=count).start()
        execute(process, "#.check", "#.load", "#.load[0]", "#.load[3]")
        take(process, "#.load[7]")
        costs[count] = queries(process)
    assert costs == {10: 4, 1_000: 4}


def test_the_tree_costs_the_same_for_any_number_of_steps(define: Define) -> None:
    for count in (3, 300):
        workflow = define()
        for number in range(count):
            workflow.step(name=f"s{number}", after=[])(lambda step: None)
        process = workflow.start()
        execute(process, "#.s0")
        assert queries(process) == 2


def test_an_unchanged_poll_reads_no_step(process: Process, client: Client) -> None:
    Process.objects.filter(pk=process.pk).update(created_at=DatabaseNow(-3601))
    address = Live(Process.objects.with_now().get(pk=process.pk), "status", is_personal=True).poll_url
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address, headers={"HX-Request": "true"}).status_code == 204
    assert not [query for query in captured if "django_progress_step" in query["sql"]]
