"""Pages that a stream keeps up to date, in Chromium: with htmx 2 and 4, under a strict Content-Security-Policy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_progress.clock import DatabaseNow
from django_progress.models import Process
from django_progress.sharing import get_share_url, revoke_share_urls
from tests.browser.streaming import (
    APPLICATION,
    CATCH,
    NOTE,
    OFTEN,
    POKE,
    Tab,
    ann,
    bar,
    new_tab,
    report,
    site,
    tab,
    wait_for,
    wake_ups,
)
from tests.push.serving import Site, serve
from tests.workers import wait_until

__all__ = ["ann", "new_tab", "site", "tab", "wake_ups"]

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

HTMX = ["none", "2", "4"]
"""What the host page brings: nothing (ours is loaded), htmx 2 or htmx 4."""


def address(process: Process, htmx: str) -> str:
    return process.get_wait_url() if htmx == "none" else f"/host/{htmx}/{process.key}/"


@pytest.mark.parametrize("htmx", HTMX)
def test_progress_comes_by_the_stream_and_leads_on(tab: Tab, ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100, unit="rows", redirect_url="/parcels/")
    page = tab.open(address(process, htmx))
    tab.wait_for_stream()
    for current in (10, 40, 70):
        report(process, current)
        wait_for(page, current)
    process.milestone("check", "Checking <b>what</b> was read")
    page.get_by_text("Checking <b>what</b> was read").first.wait_for()
    assert tab.is_same
    assert len(tab.streams) == 1
    assert not tab.polls
    process.succeed()
    page.wait_for_url("**/parcels/")
    assert len(tab.polls) == 1  # Where it leads is told by a poll.
    assert not tab.complaints


def test_update_is_on_the_page_within_300_ms_of_its_commit(tab: Tab, ann: User) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = tab.open(process.get_wait_url())
    tab.wait_for_stream()
    page.evaluate(NOTE)
    committed = {}
    for current in range(1, 31):
        report(process, current)
        committed[current] = time.time() * 1000
        wait_for(page, current)
    shown = {int(current): moment for current, moment in page.evaluate("window.shown")}
    delays = sorted(shown[current] - moment for current, moment in committed.items())
    assert statistics.median(delays) < 300, delays
    assert not tab.polls


@pytest.mark.parametrize("htmx", HTMX)
def test_a_server_that_was_killed_loses_nothing(tab: Tab, site: Site, ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = tab.open(address(process, htmx))
    tab.wait_for_stream()
    report(process, 10)
    wait_for(page, 10)
    site.kill()
    report(process, 30)
    process.milestone("meanwhile", "While nobody could see it")
    wait_until(lambda: not tab.is_streaming(), what="the page to notice")
    assert bar(page) == 10
    site.start()
    wait_for(page, 30)
    page.get_by_text("While nobody could see it").first.wait_for()
    tab.wait_for_stream()
    report(process, 50)
    wait_for(page, 50)
    assert not page.get_by_text("There is no connection at the moment.").is_visible()
    assert tab.is_same


def test_polls_take_over_while_there_is_no_stream(
    new_tab: Callable[..., Tab], wake_ups: dict[str, Any], ann: User, settings: Any
) -> None:
    """What breaks the stream here is something on the way that lets everything else through."""
    settings.DJANGO_PROGRESS = {**wake_ups, "POLL_INTERVALS": OFTEN}
    with serve(APPLICATION) as site:
        tab = new_tab(site)
        tab.page.route("**/stream/**", lambda route: route.abort())
        process = Process.objects.start("Importing", owner=ann, total=100, redirect_url="/parcels/")
        page = tab.open(process.get_wait_url())
        for current in (10, 20):
            report(process, current)
            wait_for(page, current)
        tab.page.unroute("**/stream/**")
        tab.wait_for_stream()
        polls = len(tab.polls)
        for current in (30, 40, 50, 60):
            report(process, current)
            wait_for(page, current)
            page.wait_for_timeout(300)
        assert len(tab.polls) <= polls + 1
        # What a stream has brought polls, too.
        tab.page.route("**/stream/**", lambda route: route.abort())
        site.kill()
        site.start()
        report(process, 70)
        wait_for(page, 70)
        assert tab.is_same


def test_the_same_page_polls_under_wsgi(visit: Callable[[str], Any], page: Any, ann: User) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    process = Process.objects.start("Importing", owner=ann, total=4, redirect_url="/parcels/")
    visit(process.get_wait_url())
    process.set_progress(1)
    wait_for(page, 25)
    assert page.locator("script[src*='django_progress.js']").count()
    assert not page.locator("script[src*='stream']").count()
    assert not [url for url in asked if "stream" in url]
    process.succeed()
    page.wait_for_url("**/parcels/")
    assert not visit.complaints  # type: ignore[attr-defined]


def test_a_hidden_tab_pauses(tab: Tab, site: Site, ann: User) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = tab.open(process.get_wait_url())
    tab.wait_for_stream()
    tab.hide()
    assert not tab.is_streaming()
    report(process, 10)
    page.wait_for_timeout(700)
    assert bar(page) == 0
    tab.hide(False)
    wait_for(page, 10)
    tab.wait_for_stream()
    report(process, 20)
    wait_for(page, 20)
    assert len(tab.streams) == 2


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_an_older_state_never_replaces_a_newer(tab: Tab, ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    tab.page.add_init_script(CATCH)
    page = tab.open(address(process, htmx))
    tab.wait_for_stream()
    report(process, 10)
    wait_for(page, 10)
    older = page.evaluate("document.querySelector('[data-dp-live]').outerHTML")

    # A poll that was answered before, and arrives after.
    def answer_late(route: Any) -> None:
        report(process, 20)
        wait_for(page, 20)
        route.fulfill(body=older)

    page.route("**/fragments/**", answer_late)
    page.evaluate(POKE)
    wait_until(lambda: bar(page) == 20 and len(tab.polls) == 1, what="the poll")
    page.wait_for_timeout(300)
    assert bar(page) == 20
    page.unroute("**/fragments/**")
    # The stream itself.
    page.evaluate("(html) => window.source.dispatchEvent(new MessageEvent('live', { data: html }))", older)
    assert bar(page) == 20
    report(process, 30)
    wait_for(page, 30)
    assert not tab.complaints


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_one_stream_for_all_that_a_page_shows(tab: Tab, ann: User, htmx: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    other = Process.objects.start("Searching", owner=ann, total=100)
    page = tab.open(f"/host/{htmx}/{process.key}/together/")
    tab.wait_for_stream()
    bars = page.locator("progress")
    assert bars.count() == 4
    report(process, 10)
    wait_until(lambda: page.locator("progress[value='10']").count() == 3, what="all of the one")
    report(other, 20)
    wait_until(lambda: page.locator("progress[value='20']").count() == 1, what="the other")
    assert len(tab.streams) == 1

    # What is new in the list is found by its polls, told to poll again while they do; and then watched as well.
    def answer_late(route: Any) -> None:
        answer = route.fetch()
        Process.objects.start("Sorting", owner=ann, total=100)
        page.evaluate(POKE)
        route.fulfill(response=answer)

    page.route("**/fragments/mine/**", answer_late, times=1)
    report(process, 15)
    page.get_by_text("Sorting").wait_for()
    third = Process.objects.latest("pk")
    wait_until(lambda: tab.is_streaming() and len(tab.streams) == 2, what="a stream that knows it")
    report(third, 30)
    wait_until(lambda: page.locator("progress[value='30']").count() == 1, what="the third")
    for ended in (process, other, third):
        ended.succeed()
    wait_until(lambda: page.locator("[data-dp-live][hx-get]").count() == 0, what="the end of all")
    assert tab.is_same
    assert not tab.complaints


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_the_block_is_fetched_at_the_end(tab: Tab, ann: User, htmx: str) -> None:
    process = Process.objects.start("Searching", owner=ann)
    page = tab.open(f"/host/{htmx}/{process.key}/results/")
    tab.wait_for_stream()
    process.milestone("partners", "Asking our partners")
    page.get_by_text("Asking our partners").first.wait_for()
    process.succeed(["via Lisbon"])
    page.locator("#found").wait_for()
    assert tab.is_same
    assert not tab.complaints


def test_whoever_holds_a_link_has_a_stream_until_it_is_revoked(tab: Tab, ann: User) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    tab.page.context.clear_cookies()
    page = tab.open(get_share_url(process))
    tab.wait_for_stream()
    report(process, 10)
    wait_for(page, 10)
    revoke_share_urls(process)
    page.get_by_text("The link no longer works").wait_for()
    report(process, 20)
    page.wait_for_timeout(300)
    assert bar(page) == 10


@pytest.mark.parametrize("htmx", ["2", "4"])
def test_what_a_person_does_is_not_disturbed(tab: Tab, ann: User, htmx: str) -> None:
    """Focus, what is open, what is announced, the title and a click that has begun: as with polls."""
    process = Process.objects.start("Importing", owner=ann, total=100)
    process.milestone("first", "The first")
    Process.objects.filter(pk=process.pk).update(created_at=DatabaseNow(-60))  # There is little to see at first.
    page = tab.open(address(process, htmx) if htmx != "2" else process.get_wait_url())
    tab.wait_for_stream()
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    report(process, 30)
    wait_for(page, 30)
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.locator("details").first.get_attribute("open") is not None
    assert page.locator("[data-dp-said]").first.inner_text() == "The first, 25 %"
    if htmx == "2":
        assert page.title() == "30 % · Importing"

    summary.hover()
    page.mouse.down()
    report(process, 60)
    page.wait_for_timeout(400)
    assert bar(page) == 30
    page.mouse.up()
    wait_for(page, 60)
    assert page.locator("details").first.get_attribute("open") is None


def test_nothing_changes_without_javascript(new_tab: Callable[..., Tab], site: Site, ann: User) -> None:
    tab = new_tab(site, java_script_enabled=False)
    process = Process.objects.start("Importing", owner=ann, total=100, cancelled_url="/parcels/")
    page = tab.page
    page.goto(site.url + process.get_wait_url())
    report(process, 10)
    page.get_by_role("link", name="Refresh now").click()
    wait_for(page, 10)
    page.get_by_role("button", name="Cancel").first.click()
    page.wait_for_url("**/parcels/")
    assert not tab.streams
