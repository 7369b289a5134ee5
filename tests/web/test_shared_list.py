"""What others share, in my processes."""

from __future__ import annotations

import html
import re

import pytest

from django_progress.access import Policy
from django_progress.models import Process
from django_progress.sharing import share, unshare

from .conftest import HTMX, url


def sections(response):
    """Return the titles of one's own, and of those shared."""
    own, _, shared = response.content.decode().partition("dp-shared-list")
    return tuple(re.findall(r'class="dp-row-title"[^>]*><bdi>([^<]*)', part) for part in (own, shared))


@pytest.mark.parametrize("address", ["list", "list-fragment"])
def test_what_others_share_stands_under_its_own_heading(mine, user, other, start, address):
    start("Mine")
    hers = Process.objects.start("Hers", owner=other)
    Process.objects.start("Not shared", owner=other)
    share(hers, user, by=other)
    response = mine.get(url(address))
    page = response.content.decode()

    assert sections(response) == (["Mine"], ["Hers"])
    assert '<h2 class="dp-subtitle" id="dp-mine-shared">Shared with me</h2>' in page
    assert "shared by eve" in page
    # Who sees it changes nothing of it: the list has no forms but its filter.
    assert page.count('method="post"') == 0
    unshare(hers, user)
    assert "Shared with me" not in mine.get(url(address)).content.decode()


def test_without_any_of_one_s_own(mine, user, other):
    share(Process.objects.start("Hers", owner=other), user)
    page = mine.get(url("list"))

    assert sections(page) == ([], ["Hers"])
    assert "Nothing yet." in page.content.decode()
    assert "shared by" not in page.content.decode()


def test_what_is_one_s_own_and_shared_stands_there_once(mine, user, start):
    process = start("Mine")
    share(process, user)
    page = mine.get(url("list"))

    assert sections(page) == (["Mine"], [])
    ids = re.findall(r'\bid="([^"]+)"', page.content.decode())
    assert len(ids) == len(set(ids))


def test_what_others_share_keeps_the_list_up_to_date(mine, user, other):
    hers = Process.objects.start("Hers", owner=other)
    share(hers, user, by=other)
    page = mine.get(url("list")).content.decode()
    address = html.unescape(re.search(r'hx-get="([^"]+)"', page)[1])

    assert "1 is running." in page
    assert mine.get(address, headers=HTMX).status_code == 204
    hers.succeed()
    changed = mine.get(address, headers=HTMX)
    assert "Succeeded" in changed.content.decode()
    assert "hx-get" not in changed.content.decode()
    assert "Nothing is running." in changed.content.decode()


def test_what_others_share_stands_on_the_first_page_of_all(mine, user, other, start):
    process = start("Mine", kind="import")
    share(Process.objects.start("Hers", owner=other, kind="import"), user)

    for query in ("?kind=import", "?status=running", f"?before={process.key}"):
        assert sections(mine.get(url("list", query=query)))[1] == []


def test_what_the_policy_does_not_let_them_see_is_not_listed(mine, user, other, settings):
    settings.DJANGO_PROGRESS = {"ACCESS_POLICY": f"{__name__}.OwnersOnly"}
    share(Process.objects.start("Hers", owner=other), user)

    assert sections(mine.get(url("list"))) == ([], [])


class OwnersOnly(Policy):
    """Shares count for nothing."""

    def viewable(self, who):
        return self.own(who)


def test_shared_rows_cost_one_query_however_many_there_are(mine, user, other, django_assert_num_queries):
    for number in range(12):
        share(Process.objects.start(f"P{number}", owner=other), user, by=other)
    with django_assert_num_queries(5):
        mine.get(url("list"))
