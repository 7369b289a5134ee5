"""The page behind a link, in the browser of somebody who holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_progress.models import Process
from django_progress.sharing import get_share_url, revoke_share_urls, share
from tests.workers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def process(ann: User) -> Process:
    return Process.objects.start("Import airports", owner=ann, total=100, redirect_url="/parcels/")


def test_it_follows_what_happens_to_the_end_and_stays(page: Any, live_server: Any, process: Process) -> None:
    address = live_server.url + get_share_url(process)
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request))
    page.goto(address)
    page.evaluate("window.isSame = true")
    process.set_progress(40)
    wait_until(lambda: page.locator("progress").first.get_attribute("value") == "40", what="the bar")
    process.milestone("load", "Loading rows")
    page.get_by_text("Loading rows").first.wait_for()
    wait_until(lambda: "Loading rows" in page.locator("[role=status]").inner_text(), what="it to be announced")
    process.succeed({"rows": 3})
    page.locator(".dp-state").get_by_text("Succeeded").wait_for()
    assert page.locator("[data-dp-live][hx-get]").count() == 0
    assert page.url == address
    assert page.evaluate("window.isSame")
    assert page.get_by_role("link").count() == page.get_by_role("button").count() == 0
    # Nobody was told the address, not even this site's own files.
    assert len(asked) > 4
    assert not [request.url for request in asked if "referer" in request.all_headers()]


@pytest.mark.parametrize("end", ["revoked", "removed"])
def test_a_link_that_ends_stops_the_polls_and_leads_nowhere(
    page: Any, live_server: Any, process: Process, end: str
) -> None:
    address = live_server.url + get_share_url(process)
    page.goto(address)
    page.locator("[data-dp-live][hx-get]").wait_for()
    page.evaluate("window.isSame = true")
    if end == "removed":
        Process.objects.filter(pk=process.pk).delete()
    else:
        revoke_share_urls(process)
    page.get_by_text("The link no longer works").wait_for()
    assert page.locator("[data-dp-live][hx-get]").count() == 0
    assert page.url == address
    assert page.evaluate("window.isSame")
    assert page.reload().status == 404


def test_without_javascript(new_page: Callable[..., Any], live_server: Any, process: Process) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(live_server.url + get_share_url(process))
    process.set_progress(40)
    page.get_by_role("link", name="Refresh now").click()
    assert page.locator("progress").first.get_attribute("value") == "40"
    page.get_by_role("link", name="Turn that off").click()
    page.get_by_role("link", name="Turn that on").wait_for()


def test_until_when_it_works_is_told_in_the_visitors_own_time(
    new_page: Callable[..., Any], live_server: Any, process: Process
) -> None:
    told = []
    for zone in ("Asia/Tokyo", "America/Lima"):
        page = new_page(timezone_id=zone)
        page.goto(live_server.url + get_share_url(process, expires=3600))
        page.locator(".dp-shared time").wait_for()
        told.append(page.locator(".dp-shared time").inner_text())
    assert told[0] != told[1]


def test_what_others_share_moves_in_the_list(visit: Callable[[str], Any], ann: User) -> None:
    ben = User.objects.create_user("ben")
    hers = Process.objects.start("Hers", owner=ben, total=100)
    share(hers, ann, by=ben)
    page = visit("/progress/")
    page.evaluate("window.isSame = true")
    row = page.locator(".dp-shared-list .dp-row")
    assert row.get_by_text("shared by ben").is_visible()
    hers.set_progress(40)
    wait_until(lambda: row.locator("progress").get_attribute("value") == "40", what="the bar")
    row.get_by_role("link", name="Hers").click()
    page.locator(".dp-state").wait_for()
    assert page.get_by_role("button", name="Cancel").count() == 0
    assert not visit.complaints  # type: ignore[attr-defined]
