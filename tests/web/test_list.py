"""My processes."""

from __future__ import annotations

import html
import re

import pytest
from django.test import Client

from django_progress.models import Process

from .conftest import HTMX, imports, url


def titles(response) -> list[str]:
    return re.findall(r'class="dp-row-title"[^>]*><bdi>([^<]*)', response.content.decode())


def test_newest_first_and_only_mine(mine, other, start):
    start("First")
    start("Second")
    Process.objects.start("Hers", owner=other)
    Process.objects.start("Nobody's")

    assert titles(mine.get(url("list"))) == ["Second", "First"]


def test_staff_see_only_their_own_here(staff, process):
    client = Client()
    client.force_login(staff)

    assert titles(client.get(url("list"))) == []


def test_a_row_shows_how_it_stands(mine, start):
    process = start(total=100, current=42, age=90, kind="import", unit="rows")
    process.milestone("read", "Reading rows")
    content = mine.get(url("list")).content.decode()

    for words in (
        "Reading rows",
        "42 %",
        "42 of 100 rows",
        "1 min 30 s so far",
        "Running",
        "import",
        process.get_absolute_url(),
    ):
        assert words in content
    assert f'aria-labelledby="dp-row-{process.key}-link"' in content


def test_without_any(mine):
    page = mine.get(url("list")).content.decode()

    assert "Nothing yet." in page
    assert "hx-get" not in page


def test_pages_by_key(mine, start, settings):
    settings.DJANGO_PROGRESS = {"PAGE_SIZE": 2}
    made = [start(f"P{number}") for number in range(5)]
    seen, address = [], url("list")
    while address:
        page = mine.get(address)
        seen += titles(page)
        start("Later")  # moves nothing on the pages that follow
        older = re.search(r'<a href="([^"]+)" rel="next">', page.content.decode())
        address = html.unescape(older[1]) if older else ""

    assert seen == ["P4", "P3", "P2", "P1", "P0"]
    assert titles(mine.get(url("list", query=f"?before={made[2].key}"))) == ["P1", "P0"]


@pytest.mark.parametrize("before", ["x", "1", "00000000-0000-4000-8000-000000000000", "%00"])
def test_a_page_that_is_none_is_the_first(mine, process, before):
    assert titles(mine.get(url("list", query=f"?before={before}"))) == ["Import airports"]


def test_somebody_elses_key_says_nothing(mine, other, process):
    hers = Process.objects.start("Hers", owner=other)

    assert titles(mine.get(url("list", query=f"?before={hers.key}"))) == ["Import airports"]


def test_filters(mine, start):
    start("A", kind="import")
    start("B", kind="report").fail("Sorry.")
    start("C", kind="import").fail("Sorry.")

    assert titles(mine.get(url("list", query="?status=failed"))) == ["C", "B"]
    assert titles(mine.get(url("list", query="?status=failed&kind=import"))) == ["C"]
    assert titles(mine.get(url("list", query="?status=nonsense"))) == ["C", "B", "A"]
    nothing = mine.get(url("list", query="?kind=other")).content.decode()
    assert "Nothing here matches." in nothing
    assert "Show all" in nothing


def test_filters_stay_while_paging(mine, start, settings):
    settings.DJANGO_PROGRESS = {"PAGE_SIZE": 1}
    start("A", kind="import")
    start("B", kind="import")
    page = mine.get(url("list", query="?kind=import&status=running")).content.decode()

    assert re.search(r'href="/progress/\?status=running&amp;kind=import&amp;before=[^"]+" rel="next"', page)
    assert '<option value="import" selected>' in page
    assert '<option value="running" selected>' in page


def test_an_expiry_is_shown_and_filtered_but_not_stored(mine, start):
    process = start(max_duration=5, expires_in=-1)

    assert "Expired" in mine.get(url("list")).content.decode()
    assert titles(mine.get(url("list", query="?status=expired"))) == ["Import airports"]
    assert titles(mine.get(url("list", query="?status=running"))) == []
    process.refresh_from_db()
    assert process.status == "running"


def test_it_polls_while_something_is_going_on(mine, start):
    process = start(age=5)
    page = mine.get(url("list", query="?kind="))
    address = html.unescape(re.search(r'hx-get="([^"]+)"', page.content.decode())[1])

    assert mine.get(address, headers=HTMX).status_code == 204
    process.succeed()
    response = mine.get(address, headers=HTMX)
    content = response.content.decode().strip()
    assert response.status_code == 200
    assert content.startswith('<div id="dp-mine-live"')
    assert "hx-get" not in content
    assert "<form" not in content


def test_a_poll_keeps_filter_and_page(mine, start):
    start("A", kind="import", age=5)
    last = start("B", kind="report", age=5)
    page = mine.get(url("list", query=f"?kind=import&before={last.key}")).content.decode()
    address = html.unescape(re.search(r'hx-get="([^"]+)"', page)[1])

    assert mine.get(address, headers=HTMX).status_code == 204
    assert titles(mine.get(address.replace("dp-shown=", "dp-shown=x"), headers=HTMX)) == ["A"]


def test_the_fragment_by_itself(mine, process):
    content = mine.get(url("list-fragment")).content.decode()

    assert titles(mine.get(url("list-fragment"))) == ["Import airports"]
    assert "django_progress.css" in content
    assert "<html" not in content
    restored = mine.get(url("list-fragment"), headers={**HTMX, "HX-History-Restore-Request": "true"})
    assert restored["Location"] == url("list")


def test_the_number_of_queries_does_not_grow(mine, start, django_assert_num_queries):
    for number in range(12):
        process = start(f"P{number}", task=imports, kind="import")
        process.milestone("x", "Reading")
        process.set_message("Stage", "Reading")
        process.set_result({"rows": list(range(100))})
    with django_assert_num_queries(5):  # session, user, the processes, those shared, the kinds
        mine.get(url("list"))
    with django_assert_num_queries(4):
        mine.get(url("list-fragment", query="?dp-shown=x"), headers=HTMX)
    with django_assert_num_queries(4):  # where the page begins; what is shared stands on the first one
        mine.get(url("list-fragment", query=f"?dp-shown=x&before={process.key}"), headers=HTMX)


def test_results_are_not_even_read(mine, start):
    start(result={"big": "x" * 1000})
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        mine.get(url("list"))
    assert not any('"result"' in query["sql"] or "`result`" in query["sql"] for query in queries)


def test_the_poll_says_that_somebody_was_logged_in(mine, process):
    assert re.search(
        r'hx-get="/progress/fragments/[^"]*\?dp-shown=[^"]+&amp;dp-for=1"', mine.get(url("list")).content.decode()
    )


def test_a_page_that_a_busy_row_has_left_is_not_taken_for_an_older_one(mine, start, settings):
    """The page in the browser refuses what has a lower revision than it shows."""
    settings.DJANGO_PROGRESS = {"PAGE_SIZE": 1}
    busy = start("Busy")
    for number in range(30):
        busy.milestone(f"m{number}")

    def revision():
        return int(re.search(r'data-revision="(\d+)"', mine.get(url("list")).content.decode())[1])

    before = revision()
    start("New")
    assert revision() >= before
