"""People without an account, and people who share one browser, in Chromium: the example's search for flights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_progress.models import Process
from tests.executing import execute

from .gallery import serve_gallery

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LOGIN = re.compile(r"/login/\?next=")


@pytest.fixture(autouse=True)
def gallery(settings: Any, tmp_path: Path) -> None:
    serve_gallery(settings, tmp_path)


@pytest.fixture
def search(live_server: Any) -> Callable[[Any], Process]:
    """Search for flights as somebody nobody knows, by the form."""

    def search(page: Any) -> Process:
        page.goto(live_server.url + "/flights/")
        page.get_by_role("button", name="OSL – LIM").click()
        page.wait_for_url("**/wait/")
        return Process.objects.latest("pk")

    return search


def log_in(page: Any, name: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Log in").click()


def found(process: Process) -> Any:
    """Return what a search finds, near enough."""
    stops = [{"code": code, "city": code, "name": code, "at": [0, 0]} for code in ("OSL", "JFK", "LIM")]
    journey = {"stops": stops, "duration": "19 h 05 min", "kilometres": 12_000}
    return {"by": "partners", "from": stops[0], "to": stops[2], "journeys": [journey]}


def test_a_wait_without_an_account(page: Any, search: Callable[[Any], Process]) -> None:
    process = search(page)
    assert process.owner is None
    page.evaluate("window.isSame = true")
    Process.objects.get().milestone("partners", "Asking our partners")
    page.get_by_text("Asking our partners").first.wait_for()
    assert page.evaluate("window.isSame")
    execute(process, found)
    page.wait_for_url("**/flights/results/*/")
    assert page.get_by_text("19 h 05 min").is_visible()
    page.get_by_role("link", name="My processes").click()
    assert page.locator(".dp-row-title").all_inner_texts() == ["Searching for your flights…"]


def test_cancelled_and_tried_again_by_form(page: Any, search: Callable[[Any], Process]) -> None:
    process = search(page)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url(f"**{process.get_absolute_url()}")
    assert page.get_by_text("It was cancelled before it was done.").is_visible()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/wait/")
    again = Process.objects.get(retry_of=process)
    assert page.url.endswith(again.get_wait_url())
    assert (again.owner, again.visitor) == (None, process.visitor)
    execute(again, found)
    page.wait_for_url("**/flights/results/*/")


def test_without_javascript(new_page: Callable[..., Any], search: Callable[[Any], Process]) -> None:
    page = new_page(java_script_enabled=False)
    process = search(page)
    execute(process, found)
    page.get_by_role("link", name="Refresh now").click()
    page.wait_for_url("**/flights/results/*/")


def test_who_logs_in_midway_takes_it_along_and_leaves_nothing_behind(
    page: Any, live_server: Any, search: Callable[[Any], Process]
) -> None:
    ann = User.objects.create_user("ann", password="ann")
    process = search(page)
    wait = page.url
    second = page.context.new_page()
    second.goto(live_server.url + "/login/")
    log_in(second, "ann")
    # The page that was open all the time goes on, and the process is hers.
    process.milestone("partners", "Asking our partners")
    page.get_by_text("Asking our partners").first.wait_for()
    process.refresh_from_db()
    assert (process.owner, process.visitor) == (ann, "")
    second.get_by_role("button", name="Log out").click()
    second.get_by_role("link", name="Log in").wait_for()
    second.goto(wait)
    assert "/login/" in second.url
    # What the first page shows was hers by then, so that one is led to log in again.
    page.wait_for_url(LOGIN)


def test_another_browser_is_led_to_the_login_page(
    page: Any, new_page: Callable[..., Any], live_server: Any, search: Callable[[Any], Process]
) -> None:
    process, other = search(page), new_page()
    addresses = [process.get_wait_url(), process.get_absolute_url()]
    for address in (*addresses, "/progress/"):
        other.goto(live_server.url + address)
        assert LOGIN.search(other.url)
    # Nor is it shown to whoever has started something too.
    search(other)
    for address in addresses:
        other.goto(live_server.url + address)
        assert LOGIN.search(other.url)
    for each in (page, other):
        each.goto(live_server.url + "/progress/")
        assert each.locator(".dp-row").count() == 1


def test_a_visitor_whose_session_ends_is_told_so_and_not_led_away(page: Any, search: Callable[[Any], Process]) -> None:
    search(page)
    wait = page.url
    page.context.clear_cookies()
    page.get_by_text("This is no longer kept up to date.").wait_for()
    assert page.url == wait
    assert page.locator("[data-dp-live][hx-get]").count() == 0


def test_who_was_logged_in_is_led_to_log_in_again(page: Any, live_server: Any) -> None:
    ann = User.objects.create_user("ann", password="ann")
    process = Process.objects.start("Searching", owner=ann)
    page.goto(live_server.url + process.get_wait_url())
    log_in(page, "ann")
    page.wait_for_url("**/wait/")
    page.context.clear_cookies()
    page.wait_for_url(LOGIN)
    assert page.url.endswith(process.get_wait_url())
