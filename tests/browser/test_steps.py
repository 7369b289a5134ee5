"""The steps of a workflow in Chromium: a log that grows, by polls and by a stream, and what stays as it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_progress.models import Process
from django_progress.sharing import get_share_url
from django_progress.workflows import Workflow, registry
from tests.browser.streaming import Tab, new_tab, site, tab, wake_ups
from tests.executing import inside
from tests.unit.conftest import conf, engine
from tests.workers import wait_until
from tests.workflows.driving import execute, execution, take

__all__ = ["conf", "engine", "new_tab", "site", "tab", "wake_ups"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

NAME = "tests-browser-steps"


@pytest.fixture
def process(ann: User) -> Iterator[Process]:
    """One whose first step is done, and whose second has begun two of its parts and lost one."""
    workflow = Workflow(NAME, description="Import airports")
    workflow.step(name="check", description="Checking the file", debug=lambda results: "Checked")(lambda step: None)
    load = workflow.step(
        name="load", description="Loading the rows", each=lambda results: list(range(40)), on_failure="continue"
    )(lambda step, item: 1 / item)
    load.step(name="index", description="Indexing")(lambda step: None)
    workflow.step(name="heights", description="Looking up heights", after=["check"])(lambda step: None)
    process = workflow.start(ann)
    execute(process, "#.check", "#.load", "#.load[0]", "#.load[1]")
    yield process
    registry.forget(NAME)


def say(process: Process, path: str, text: str, **numbers: Any) -> None:
    """Have a step that runs write a line, as its worker does."""
    step = Process.objects.get(pk=execution(process, path).pk)
    step.log(text)
    if numbers:
        step.set_progress(**numbers)


def lives_on(page: Any, process: Process) -> None:
    """Unfold a log, focus another's, and see that a new line comes and nothing else moves."""
    with inside(take(process, "#.heights")) as step:
        step.log("The first line")
        step.set_progress(10, 100)
    page.locator("summary[id$='s3-log']").click()
    page.get_by_text("The first line").wait_for()
    page.locator("summary[id$='s0-log']").focus()
    for number in (2, 3):
        say(process, "#.heights", f"Line number {number}", current=10 * number)
        page.get_by_text(f"Line number {number}").wait_for()
        wait_until(
            lambda number=number: page.locator("[id$='s3'] > progress").get_attribute("value") == str(10 * number),
            what="the bar of the step",
        )
        assert page.locator("details[data-dp-keep='s3-log']").get_attribute("open") is not None
        assert page.locator("details[data-dp-keep='s0-log']").get_attribute("open") is None
        assert page.evaluate("document.activeElement.id").endswith("s0-log")


@pytest.mark.parametrize("where", ["wait", "status", "shared"])
def test_a_line_of_a_step_comes_by_a_poll(visit: Callable[[str], Any], process: Process, where: str) -> None:
    addresses = {"wait": process.get_wait_url, "status": process.get_absolute_url}
    page = visit(addresses[where]() if where in addresses else get_share_url(process))
    page.evaluate("window.isSame = true")
    lives_on(page, process)
    assert page.evaluate("window.isSame")
    assert not visit.complaints  # type: ignore[attr-defined]


@pytest.mark.redis
@pytest.mark.parametrize("where", ["wait", "shared"])
def test_a_line_of_a_step_comes_by_the_stream(tab: Tab, process: Process, where: str) -> None:
    page = tab.open(process.get_wait_url() if where == "wait" else get_share_url(process))
    tab.wait_for_stream()
    lives_on(page, process)
    assert tab.is_same
    assert not tab.polls
    assert not tab.complaints


def test_parts_count_and_unfold(visit: Callable[[str], Any], process: Process) -> None:
    page = visit(process.get_absolute_url())
    row = page.locator("[id$='-s1']")
    assert "2 of 40 parts" in row.inner_text()
    assert "1 failed" in row.inner_text()
    row.locator("details[data-dp-keep='s1-parts'] > summary").click()
    assert row.get_by_text("#.load[0]").is_visible()
    execute(process, "#.load[2]")
    page.get_by_text("3 of 40 parts").wait_for()
    assert row.get_by_text("Something went wrong on our side.").is_visible()
    row.get_by_role("link", name="#.load[0]").click()
    page.wait_for_url(f"**{execution(process, '#.load[0]').get_absolute_url()}")


def test_bars_of_steps_have_names(visit: Callable[[str], Any], process: Process) -> None:
    """Which axe doesn't ask of <progress>."""
    with inside(take(process, "#.heights")) as step:
        step.set_progress(10, 100)
    page = visit(process.get_absolute_url())
    assert page.get_by_role("progressbar", name="Looking up heights").count() == 1
    assert page.get_by_role("progressbar", name="Loading the rows").count() == 1
    assert page.get_by_role("progressbar").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(
    new_page: Callable[..., Any],
    log_in: Callable[[Any], None],
    live_server: Any,
    process: Process,
    scheme: str,
    width: int,
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with inside(take(process, "#.heights")) as step:
        step.milestone("europe", "Europe")
        step.log("Slow today", level="warning")
        step.log("Very slow", level="error")
        step.set_progress(10, 100)
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    log_in(page)
    for address in (process.get_absolute_url(), get_share_url(process)):
        page.goto(live_server.url + address)
        for summary in page.locator("summary").all():
            if not summary.evaluate("summary => summary.parentElement.open"):
                summary.click()
        results = Axe().run(page)
        assert not results.violations_count, results.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_it_is_there_without_scripts(
    new_page: Callable[..., Any], log_in: Callable[[Any], None], live_server: Any, process: Process
) -> None:
    page = new_page(java_script_enabled=False)
    log_in(page)
    page.goto(live_server.url + process.get_absolute_url())
    page.locator("summary[id$='s0-log']").click()
    assert page.get_by_text("Checked").is_visible()
