"""Faults 67 and 78, in Chromium: the back button, what stores answers, and two people at one browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from django_progress.models import Process
from django_progress.sharing import get_share_url
from tests.faults.gallery import ann, be, ben, gallery, log_in

__all__ = ["ann", "be", "ben", "gallery"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def is_whole(page: Any) -> bool:
    """Say whether it is a page in the site's layout, with one heading, and not a piece of one."""
    return bool(page.locator("header.bar").count() == page.locator("footer").count() == page.locator("h1").count() == 1)


# 67. The back button, the history of htmx, and whatever stores answers.


@pytest.mark.parametrize("name", ["detail", "list"])
def test_fault_67_the_back_button_shows_a_whole_page_and_how_it_stands_now(
    page: Any, live_server: Any, ann: User, be: Callable[[Any, User], None], name: str
) -> None:
    process = Process.objects.start("Importing", owner=ann)
    be(page, ann)
    address = reverse("django_progress:process-list") if name == "list" else process.get_absolute_url()
    page.goto(live_server.url + address)
    state = page.locator(".dp-state")
    state.get_by_text("Running").wait_for()
    page.goto(live_server.url + "/")
    process.succeed()
    answers = []
    page.on("response", lambda response: answers.append((response.url, response.request.resource_type)))
    page.go_back()
    state.get_by_text("Succeeded").wait_for()
    assert is_whole(page)
    # It was asked for again: nothing had kept it.
    assert (live_server.url + address, "document") in answers


@pytest.mark.parametrize("name", ["status", "list", "shared"])
def test_fault_67_htmx_restores_a_whole_page_where_it_had_a_piece(
    page: Any, live_server: Any, ann: User, be: Callable[[Any, User], None], name: str
) -> None:
    """As when a project has a link fetch a fragment, and push its address."""
    process = Process.objects.start("Importing", owner=ann)
    be(page, ann)
    address = {
        "status": reverse("django_progress:process-status-fragment", args=[process.key]),
        "list": reverse("django_progress:process-list-fragment"),
        "shared": f"{get_share_url(process)}fragment/",
    }[name]
    page.goto(f"{live_server.url}/fragments/")
    page.wait_for_function("window.htmx")
    page.evaluate(PUSH, [address, "/"])
    page.locator("#first").click()
    page.wait_for_url(f"**{address}")
    page.locator("#second").click()
    page.wait_for_url(f"{live_server.url}/")
    process.succeed()
    page.evaluate("window.isSame = true")
    page.go_back()
    page.locator(".dp-state").get_by_text("Succeeded").wait_for()
    assert page.evaluate("window.isSame"), "htmx has not restored it"
    page.locator("main h1").wait_for()
    assert page.locator("main h1").count() == page.locator("footer").count() == 1


PUSH = """([first, second]) => {
    htmx.config.historyCacheSize = 0;
    const main = document.querySelector("main");
    const bar = document.createElement("p");
    bar.innerHTML = `<a id="first" hx-get="${first}">1</a> <a id="second" hx-get="${second}">2</a>`;
    for (const link of bar.children) {
        link.setAttribute("hx-push-url", "true");
        link.setAttribute("hx-target", "main");
    }
    main.before(bar);
    htmx.process(bar);
}"""


def test_fault_67_nobody_keeps_an_answer_for_somebody_else(settings: Any, ann: User, ben: User, client: Client) -> None:
    """A cache in front of everything, which trusts what the answers say of themselves."""
    cache = "django.middleware.cache.{}CacheMiddleware"
    settings.MIDDLEWARE = [cache.format("Update"), *settings.MIDDLEWARE, cache.format("FetchFrom")]
    process = Process.objects.start("Importing", owner=ann)
    client.force_login(ann)
    other = Client()
    other.force_login(ben)
    link = get_share_url(process)
    pages = [
        *(reverse(f"django_progress:process-{name}", args=[process.key]) for name in KEYED),
        *(reverse(f"django_progress:process-{name}") for name in ("list", "list-fragment")),
        *(link, f"{link}fragment/"),
    ]
    for address in pages:
        mine = client.get(address)
        assert mine.status_code == 200, address
        assert mine["Cache-Control"] == "private, no-store", address
        theirs = other.get(address)
        if address.startswith(link):
            continue
        assert "Importing" not in theirs.content.decode(), address
        assert theirs["Cache-Control"] == "private, no-store", address
        if "status/" not in address.removesuffix("fragments/status/") and "events" not in address:
            assert {"Cookie", "HX-Request"} <= set(mine["Vary"].split(", ")), address


KEYED = ("detail", "wait", "status", "events", "wait-fragment", "status-fragment")


# 78. Two people at one browser.


def test_fault_78_who_comes_after_sees_nothing_of_who_was_there(
    page: Any, live_server: Any, ann: User, ben: User
) -> None:
    site = live_server.url
    page.goto(f"{site}/flights/")
    page.get_by_role("button", name="OSL – LIM").click()
    page.wait_for_url("**/wait/")
    search = Process.objects.get()
    log_in(page, site, "ann")
    search.refresh_from_db()
    assert search.owner == ann
    hers = page.goto(f"{site}{search.get_absolute_url()}")
    assert hers.status == 200
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()

    # The back button, while nobody is logged in: the page was kept nowhere.
    page.go_back()
    page.wait_for_url("**/login/?next=**")
    assert search.title not in page.content()

    log_in(page, site, "ben")
    assert page.goto(f"{site}{search.get_absolute_url()}").status == 404
    page.goto(f"{site}/progress/")
    assert page.locator(".dp-row-title").count() == 0
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()
    page.goto(f"{site}{search.get_wait_url()}")
    assert "/login/" in page.url


def test_fault_78_a_session_that_somebody_else_had_fixed(
    page: Any, new_page: Callable[..., Any], live_server: Any, ann: User
) -> None:
    """Whoever plants a session in a browser gets nothing by it once its owner has logged in."""
    attacker, site = new_page(), live_server.url
    attacker.goto(f"{site}/flights/")
    attacker.get_by_role("button", name="FRA – JFK").click()
    attacker.wait_for_url("**/wait/")
    planted = next(cookie for cookie in attacker.context.cookies() if cookie["name"] == "sessionid")
    page.context.add_cookies([{"name": "sessionid", "value": planted["value"], "url": site}])
    log_in(page, site, "ann")
    page.goto(f"{site}/flights/")
    page.get_by_role("button", name="OSL – LIM").click()
    page.wait_for_url("**/wait/")
    search = Process.objects.newest_first().first()
    assert search is not None
    assert search.owner == ann
    for address in (search.get_absolute_url(), "/progress/"):
        attacker.goto(site + address)
        assert "/login/" in attacker.url
    # And a visitor's key afterwards is not the one that was planted.
    kept = next(cookie for cookie in page.context.cookies() if cookie["name"] == "sessionid")
    assert kept["value"] != planted["value"]
