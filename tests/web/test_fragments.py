"""The poll: what it carries, when it is answered by nothing, how it stops and where it leads."""

from __future__ import annotations

import html
import re

import pytest
from django.utils import timezone

from django_progress.models import Process

from .conftest import HTMX, imports, url


def polled(response) -> str:
    """Return the address that a fragment polls next."""
    return html.unescape(re.search(r'hx-get="([^"]+)"', response.content.decode())[1])


def poll(client, address: str):
    return client.get(address, headers={**HTMX, "HX-Current-URL": "http://testserver/orders/?page=2#end"})


FIRST = ["wait", "detail", "wait-fragment", "status-fragment"]


@pytest.mark.parametrize("name", FIRST)
def test_what_has_not_changed_is_answered_by_nothing(mine, start, name):
    address = polled(mine.get(url(name, start(age=5))))
    response = poll(mine, address)

    assert response.status_code == 204
    assert response.content == b""


@pytest.mark.parametrize("name", FIRST)
def test_what_has_changed_is_the_live_region_and_nothing_else(mine, start, name):
    process = start(total=10, age=5)
    page = mine.get(url(name, process))
    process.set_progress(4)
    response = poll(mine, polled(page))
    content = response.content.decode().strip()

    assert response.status_code == 200
    assert content.startswith("<div id=")
    assert content.endswith("</div>")
    assert 'value="40"' in content
    assert "<form" not in content
    assert "csrf" not in content
    assert "<script" not in content
    assert poll(mine, polled(response)).status_code == 204


@pytest.mark.parametrize(
    "row",
    [
        {"age": 12},  # the first word about time
        {"age": 70},  # polled less often
        {"milestone_name": "x", "revision": 9},
        {"max_duration": 30},
    ],
)
def test_whatever_changes_the_page_changes_the_token(mine, start, row):
    address = polled(mine.get(url("wait", start(age=5))))
    changed = start(**{"age": 5, **row})

    assert polled(mine.get(url("wait", changed))).split("=")[1] != address.split("=")[1]


def test_the_language_is_part_of_what_is_shown(mine, start):
    address = polled(mine.get(url("wait", start(age=5))))

    assert mine.get(address, headers={**HTMX, "Accept-Language": "de"}).status_code == 200


def test_a_request_to_cancel_is_seen_by_the_next_poll(mine, start):
    process = start(task=imports, status="running", attempt_token="t", attempt_number=1, age=5)
    process.attempt_set.create(number=1, attempt_number=1, token="t", started_at=timezone.now())
    address = polled(mine.get(url("detail", process)))
    process.attempt_set.update(cancel_requested_at=timezone.now())

    assert "Cancelling…" in poll(mine, address).content.decode()


def test_a_later_retry_is_seen_on_the_page_of_the_old_one(mine, start):
    process = start(task=imports, age=5)
    address = polled(mine.get(url("detail", process)))
    process.fail("Empty.")
    shown = poll(mine, address).content.decode()
    again = process.retry()

    assert again.get_absolute_url() not in shown
    assert again.get_absolute_url() in poll(mine, address).content.decode()


def test_the_wait_is_led_on_when_it_is_over(mine, start):
    process = start(success_url="/orders/", age=5)
    address = polled(mine.get(url("wait", process)))
    process.succeed()
    response = poll(mine, address)

    assert (response.status_code, response["HX-Redirect"], response.content) == (200, "/orders/", b"")


def test_the_wait_is_led_on_when_its_deadline_has_passed(mine, start):
    process = start(max_duration=20, age=5, expires_in=15)
    address = polled(mine.get(url("wait", process)))
    Process.objects.filter(pk=process.pk).update(expires_at=timezone.now())

    assert poll(mine, address)["HX-Redirect"] == url("detail", process)
    process.refresh_from_db()
    assert process.status == "expired"


def test_a_wait_that_was_over_when_it_was_loaded_leads_nowhere(mine, start):
    """A page that is where it leads, and includes it, would be loaded over and over."""
    process = start(success_url="/orders/")
    process.succeed()
    response = mine.get(url("wait-fragment", process), headers=HTMX)

    assert response.status_code == 200
    assert "HX-Redirect" not in response
    assert b"hx-get" not in response.content
    assert b'href="/orders/"' in response.content


@pytest.mark.parametrize("query", ["", "&as=bar"])
def test_everything_else_stops_where_it_is(mine, start, query):
    process = start(success_url="/orders/", age=5)
    process.succeed()
    response = poll(mine, url("status-fragment", process, f"?dp-shown=x{query}"))

    assert response.status_code == 200
    assert "HX-Redirect" not in response
    assert b"hx-get" not in response.content
    assert b"hx-trigger" not in response.content


def test_the_attributes_suit_htmx_2_and_4(mine, start):
    process = start(age=5)
    page = mine.get(url("wait", process)).content.decode()
    element = re.search(r"<div id=\"(dp-wait-[^\"]+-live)\"[^>]*>", page)

    for attribute in (
        'hx-target="this"',
        'hx-swap="outerHTML"',
        f'hx-select="#{element[1]}"',
        'hx-push-url="false"',
        'hx-replace-url="false"',
        'hx-prompt="unset"',
        'hx-include="this"',
        'hx-status:4xx="swap:none"',
        'hx-status:5xx="swap:none"',
    ):
        assert attribute in element[0]
    assert re.search(r'hx-trigger="every 1[0-9]{3}ms, dp:poke"', element[0])
    assert "[" not in re.search(r'hx-trigger="([^"]+)"', element[0])[1]


@pytest.mark.parametrize(("age", "low", "high"), [(5, 1000, 1200), (30, 2000, 2400), (90, 5000, 6000)])
def test_the_server_says_how_often(mine, start, age, low, high):
    page = mine.get(url("wait", start(age=age))).content.decode()

    assert low <= int(re.search(r"every (\d+)ms", page)[1]) <= high


def test_the_block_fetches_the_page_it_is_on_once_it_has_succeeded(mine, start):
    process = start(age=5)
    waiting = mine.get(url("status-fragment", process, "?as=processing"))
    process.succeed()
    response = poll(mine, polled(waiting))
    content = response.content.decode()

    assert 'hx-get="/orders/?page=2"' in content
    assert f'hx-select="#dp-processing-{process.key}"' in content
    assert f'hx-target="#dp-processing-{process.key}"' in content
    assert 'hx-trigger="load, every 5s"' in content


@pytest.mark.parametrize("end", ["fail", "expire", "cancel"])
def test_the_block_shows_any_other_end(mine, start, end):
    process = start(task=imports, age=5)
    getattr(process, end)(*(["It was empty."] if end == "fail" else []))
    content = poll(mine, url("status-fragment", process, "?as=processing&dp-shown=x")).content.decode()

    assert "dp-outcome" in content
    assert "hx-get" not in content


def test_an_unknown_way_of_showing_is_the_usual_one(mine, process):
    assert b"dp-status-" in mine.get(url("status-fragment", process, "?as=../../etc")).content


def test_a_poll_without_change_takes_three_queries(mine, process, django_assert_num_queries):
    address = polled(mine.get(url("wait", process)))
    with django_assert_num_queries(3):  # session, user, process
        assert poll(mine, address).status_code == 204


@pytest.mark.parametrize("query", ["?dp-shown=x", "?dp-shown=x&as=bar", "?dp-shown=x&as=processing"])
def test_a_poll_with_a_change_takes_one_more_at_most(mine, process, query, django_assert_max_num_queries):
    with django_assert_max_num_queries(4):
        assert poll(mine, url("status-fragment", process, query)).status_code == 200


def test_the_live_region_does_not_depend_on_who_looks(mine, staff, client, start):
    process = start(age=5, task=imports)
    client.force_login(staff)
    trigger = re.compile(r"every \d+ms")
    pages = [who.get(url("status-fragment", process, "?dp-shown=x")).content.decode() for who in (mine, client)]

    assert trigger.sub("", pages[0]) == trigger.sub("", pages[1])
