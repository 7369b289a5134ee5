"""The wait, in Chromium, with htmx 2 and 4, under a strict Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_progress.models import Process
from tests.middleware import Outage
from tests.workers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HTMX = ["none", "2", "4"]
"""What the host page brings: nothing (ours is loaded), htmx 2 or htmx 4."""


def address(process: Process, htmx: str) -> str:
    """Return the app's own wait page, or one of a host that brings its own htmx."""
    return process.get_wait_url() if htmx == "none" else f"/host/{htmx}/{process.key}/"


def bar(page: Any) -> Any:
    return page.locator("progress").first


def value(page: Any) -> float | None:
    shown = bar(page).get_attribute("value")
    return None if shown is None else float(shown)


@pytest.mark.parametrize("htmx", HTMX)
def test_progress_moves_and_leads_on(visit: Callable[[str], Any], ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing airports", owner=ann, total=100, unit="rows", redirect_url="/parcels/")
    page = visit(address(process, htmx))
    assert page.get_by_text("Importing airports").first.is_visible()
    seen = []
    for current in (10, 40, 30, 70):
        Process.objects.get(pk=process.pk).set_progress(current)
        seen.append(max([current, *seen]))
        wait_until(lambda: value(page) == seen[-1], what=f"the bar at {seen[-1]}")
    process.milestone("check", "Checking <b>what</b> was read")
    page.get_by_text("Checking <b>what</b> was read").first.wait_for()
    process.succeed()
    page.wait_for_url("**/parcels/")
    assert not visit.complaints  # type: ignore[attr-defined]


@pytest.mark.parametrize("htmx", HTMX)
def test_outage_does_not_end_the_wait(visit: Callable[[str], Any], ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=4, redirect_url="/parcels/")
    page = visit(address(process, htmx))
    Outage.active = True
    wait_until(lambda: Outage.answered >= 2, what="two polls to fail")
    assert bar(page).is_visible()
    assert not page.get_by_text("Bad gateway").is_visible()
    Outage.active = False
    process.set_progress(1)
    wait_until(lambda: value(page) == 25, what="the bar to move again")
    process.succeed()
    page.wait_for_url("**/parcels/")


@pytest.mark.parametrize("htmx", HTMX)
def test_cancel(visit: Callable[[str], Any], ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, cancelled_url="/parcels/")
    page = visit(address(process, htmx))
    page.get_by_role("button", name="Cancel").first.click()
    page.wait_for_url("**/parcels/")
    process.refresh_from_db()
    assert process.status == "cancelled"


@pytest.mark.parametrize("htmx", HTMX)
@pytest.mark.parametrize(
    ("end", "where"),
    [
        (lambda process: process.fail("No"), "/sorry/"),
        (lambda process: process.expire(), "/late/"),
    ],
)
def test_each_outcome_has_its_own_place(
    visit: Callable[[str], Any], ann: User, htmx: str, end: Callable[[Process], None], where: str
) -> None:
    process = Process.objects.start(
        "Importing", owner=ann, redirect_url="/parcels/", failure_url="/flights/sorry/", expired_url="/flights/late/"
    )
    page = visit(address(process, htmx))
    end(process)
    page.wait_for_url(f"**/flights{where}")


def test_expiry_needs_nobody_else(visit: Callable[[str], Any], ann: User) -> None:
    """No worker runs: whoever waits is the reader that ends it."""
    process = Process.objects.start("Waiting", owner=ann, max_duration=1.5, redirect_url="/parcels/")
    page = visit(process.get_wait_url())
    page.wait_for_url("**/parcels/")
    process.refresh_from_db()
    assert process.status == "expired"


def test_without_javascript(
    new_page: Callable[..., Any], log_in: Callable[[Any], None], live_server: Any, ann: User
) -> None:
    page = new_page(java_script_enabled=False)
    log_in(page)
    process = Process.objects.start("Importing", owner=ann, total=4, cancelled_url="/parcels/")
    process.set_progress(1)
    page.goto(live_server.url + process.get_wait_url())
    assert value(page) == 25
    Process.objects.get(pk=process.pk).set_progress(3)
    page.get_by_role("link", name="Refresh now").click()
    assert value(page) == 75
    page.get_by_role("button", name="Cancel").first.click()
    page.wait_for_url("**/parcels/")


def test_finished_block_takes_the_place_of_its_progress(visit: Callable[[str], Any], ann: User) -> None:
    process = Process.objects.start("Searching", owner=ann)
    page = visit(f"/flights/results/{process.key}/")
    assert page.locator("progress").count()
    assert not page.locator("#found").count()
    process.succeed(["via Lisbon"])
    page.locator("#found").wait_for()
    assert page.locator("#found").inner_text() == "via Lisbon"
    assert page.url.endswith(f"/flights/results/{process.key}/")
    assert not visit.complaints  # type: ignore[attr-defined]


def test_my_processes_are_live(visit: Callable[[str], Any], ann: User) -> None:
    process = Process.objects.start("Importing airports", owner=ann, total=4)
    page = visit("/progress/")
    process.set_progress(1)
    wait_until(lambda: value(page) == 25, what="the bar to move")
    process.succeed()
    wait_until(lambda: page.get_by_text("Succeeded").count() > 0, what="the status to change")
    assert page.url.endswith("/progress/")


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_nothing_of_the_hosts_is_inherited(visit: Callable[[str], Any], page: Any, ann: User, htmx: str) -> None:
    questions: list[str] = []
    page.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    process = Process.objects.start("Importing", owner=ann, total=100)
    address = f"/host/{htmx}/{process.key}/wilful/"
    visit(address)
    for current in (25, 50):
        Process.objects.get(pk=process.pk).set_progress(current)
        at_this = page.locator(f'progress[value="{current}"]')
        wait_until(lambda bars=at_this: bars.count() == 3, what=f"all bars at {current}")
    assert page.url.endswith(address)
    assert not questions
    assert not visit.complaints  # type: ignore[attr-defined]


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_polls_for_what_is_gone_end_wherever_it_is_shown(
    visit: Callable[[str], Any], page: Any, ann: User, htmx: str
) -> None:
    process = Process.objects.start("Importing", owner=ann)
    visit(f"/host/{htmx}/{process.key}/wilful/")
    assert page.get_by_role("button", name="Cancel").first.is_visible()
    Process.objects.all().delete()
    wait_until(lambda: page.locator("[data-dp-live][hx-get]").count() == 0, what="the polls to end")
    assert page.get_by_text("This is no longer kept up to date.").first.is_visible()
    assert page.get_by_text("This is no longer kept up to date.").last.is_visible()
    assert not page.get_by_role("button", name="Cancel").first.is_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1000)
    assert not asked


@pytest.mark.parametrize("htmx", HTMX)
def test_an_answer_that_is_not_ours_is_trouble(visit: Callable[[str], Any], page: Any, ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=4)
    visit(address(process, htmx))
    page.route("**/fragments/**", lambda route: route.fulfill(body="<h1>Maintenance</h1>", content_type="text/html"))
    page.get_by_text("There is no connection at the moment.").wait_for()
    assert not page.get_by_text("Maintenance").count()
    page.unroute("**/fragments/**")
    process.set_progress(1)
    wait_until(lambda: value(page) == 25, what="the bar to move again")
    page.get_by_text("There is no connection at the moment.").wait_for(state="hidden")


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_the_block_fetches_the_whole_page_of_its_host(visit: Callable[[str], Any], ann: User, htmx: str) -> None:
    process = Process.objects.start("Searching", owner=ann)
    page = visit(f"/host/{htmx}/{process.key}/results/")
    page.evaluate("window.isSame = true")
    process.succeed(["via Lisbon"])
    page.locator("#found").wait_for()
    assert page.evaluate("window.isSame")
