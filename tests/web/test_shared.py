"""The page behind a link, as its templates and headers make it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.clock import DatabaseNow
from django_progress.models import Process, ShareLink
from django_progress.sharing import get_share_url, revoke_share_urls

from .conftest import HTMX, imports

GET_HEADERS = {"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer"}
RESTORED = {**HTMX, "HX-History-Restore-Request": "true"}


def links_in(page: str) -> list[str]:
    """Return where the links and forms of a page lead."""
    return re.findall(r'<(?:a|form)\b[^>]*?(?:href|action)="([^"]*)"', page)


def poll_of(page: str) -> str:
    found = re.search(r'hx-get="([^"]+)"', page)
    return html.unescape(found[1]) if found else ""


def show(client: Client, address: str, **headers: str) -> str:
    response = client.get(address, headers=headers)
    assert response.status_code == 200
    for name, value in GET_HEADERS.items():
        assert response[name] == value
    assert {"Cookie", "HX-Request"} <= set(response["Vary"].split(", "))
    return response.content.decode()


def test_it_shows_how_it_stands_and_says_why_one_sees_it(client, start):
    process = start(total=100, current=42, unit="rows", age=90)
    process.milestone("read", "Reading rows")
    process.set_message("File", "airports.csv")
    page = show(client, get_share_url(process, expires=timedelta(hours=1)))

    for words in ("Import airports", "Running", "42 of 100 rows", "Reading rows", "airports.csv"):
        assert words in page
    until = ShareLink.objects.get().expires_at
    assert "Shared with you by a link, which works until" in page
    assert f'datetime="{until.isoformat()}"' in page
    assert '<meta name="referrer" content="no-referrer">' in page
    assert '<meta name="robots" content="noindex">' in page


def endings() -> list[Any]:
    def succeed(process: Process) -> None:
        process.succeed({"rows": 3})

    def fail(process: Process) -> None:
        process.fail("The partner did not answer.")

    def retry(process: Process) -> None:
        process.fail("No.")
        process.retry()

    return [lambda process: None, succeed, fail, Process.cancel, Process.expire, retry]


@pytest.mark.parametrize("end", endings())
@pytest.mark.parametrize("as_whom", ["client", "mine"])
def test_nothing_leads_anywhere_else(request, start, as_whom, end):
    """Whoever is logged in sees what everybody sees who holds the link."""
    client = request.getfixturevalue(as_whom)
    process = start(task=imports, max_attempts=1, redirect_url="/orders/")
    end(process)
    address = get_share_url(process)
    for url in (address, f"{address}fragment/", f"{address}fragment/?dp-shown=x"):
        page = show(client, url)
        assert set(links_in(page)) <= {"", "?refresh=off"}, url
        assert "<form" not in page
        assert "csrfmiddlewaretoken" not in page
        assert 'data-may=""' in page
        for foreign in ("/orders/", str(process.key) + "/", "Try again", "Cancel</", "My processes"):
            assert foreign not in page, url


def test_a_retry_is_not_told_to_holders(client, start):
    process = start(task=imports)
    process.fail("No.")
    again = process.retry()

    assert str(again.key) not in show(client, get_share_url(process))


def test_it_polls_until_it_ends(client, start):
    process = start(age=5)
    address = get_share_url(process)
    poll = poll_of(show(client, address))

    assert poll.startswith(f"{address}fragment/?dp-shown=")
    assert "dp-for" not in poll
    unchanged = client.get(poll, headers=HTMX)
    assert unchanged.status_code == 204
    assert unchanged["Referrer-Policy"] == "no-referrer"
    process.milestone("read", "Reading rows")
    changed = show(client, poll, **HTMX)
    assert changed.strip().startswith(f'<div id="dp-shared-{process.key}-live"')
    assert "Reading rows" in changed
    assert poll_of(changed) not in ("", poll)
    process.succeed({"rows": 3})
    ended = show(client, poll_of(changed), **HTMX)
    assert poll_of(ended) == ""
    assert "rows" in ended


def test_a_link_that_ends_leads_nobody_anywhere(client, mine, start):
    process = start(age=5)
    address = get_share_url(process)
    poll = poll_of(show(client, address))
    ends: list[Callable[[], Any]] = [
        lambda: ShareLink.objects.update(expires_at=DatabaseNow(-1)),
        lambda: revoke_share_urls(process),
    ]
    for end in ends:
        end()
        for asking in (client, mine):
            for url in (address, f"{address}fragment/", poll):
                for headers in ({}, HTMX, RESTORED):
                    response = asking.get(url, headers=headers)
                    assert response.status_code == 404
                    assert "HX-Redirect" not in response
                    assert "Location" not in response
                    assert response["Cache-Control"] == "private, no-store"
                    assert response["Referrer-Policy"] == "no-referrer"
                    assert b"Import airports" not in response.content
        ShareLink.objects.update(expires_at=DatabaseNow(60))


def test_htmx_restores_the_page_and_not_a_piece_of_it(client, process):
    address = get_share_url(process)
    for url in (f"{address}fragment/", f"{address}fragment/?dp-shown=x"):
        response = client.get(url, headers=RESTORED)
        assert response.status_code == 302
        assert response["Location"] == address
    assert "<html" in show(client, address, **RESTORED)


def test_the_fragment_by_itself(client, process):
    page = show(client, f"{get_share_url(process)}fragment/")

    assert "<html" not in page
    assert "django_progress.css" in page
    assert "Shared with you by a link" in page


def test_without_scripts_it_refreshes_itself(client, process):
    address = get_share_url(process)
    page = show(client, address)

    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', page)
    assert "Refresh now" in page
    off = show(client, f"{address}?refresh=off")
    assert "http-equiv" not in off
    assert "Turn that on" in off
    process.succeed()
    assert "http-equiv" not in show(client, address)


def test_it_says_that_the_link_no_longer_works_and_offers_no_way_out(client, process):
    page = show(client, get_share_url(process))

    assert "The link no longer works, so this is no longer kept up to date." in page
    assert "Load the page again" not in page


def test_expiry_of_the_process_is_stored_by_whoever_looks(client, start):
    process = start(max_duration=5, expires_in=-1)

    assert "Expired" in show(client, get_share_url(process))
    process.refresh_from_db()
    assert process.status == "expired"


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_it_takes_nothing(client, process, method):
    address = get_share_url(process)
    for url in (address, f"{address}fragment/"):
        refused = getattr(client, method)(url)
        assert refused.status_code == 405
        assert {name: refused[name] for name in GET_HEADERS} == GET_HEADERS


@pytest.fixture
def own_templates(settings: Any, tmp_path: Path) -> Path:
    """A folder of the project's templates."""
    folder = tmp_path / "django_progress"
    folder.mkdir()
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    return folder


def test_a_kind_has_templates_of_its_own(client, start, own_templates):
    kind = own_templates / "import"
    (kind / "live").mkdir(parents=True)
    (kind / "live" / "shared.html").write_text("<p>Ours: {{ live.snapshot.title }}</p>")
    (kind / "shared.html").write_text(
        '{% extends "django_progress/shared.html" %}{% block content %}<p>Above</p>{{ block.super }}{% endblock %}'
    )
    address = get_share_url(start(kind="import"))
    page = show(client, address)

    assert "<p>Above</p>" in page
    assert "<p>Ours: Import airports</p>" in page
    assert "<p>Ours: Import airports</p>" in show(client, f"{address}fragment/?dp-shown=x")


@pytest.mark.parametrize("kind", ["", "import"])
def test_what_a_project_adds_to_the_status_is_not_shown_to_holders(client, mine, start, own_templates, kind):
    folder = own_templates / kind / "live"
    folder.mkdir(parents=True)
    (folder / "status.html").write_text('<a href="/secret/">Secret</a>')
    process = start(kind=kind)

    assert "/secret/" in mine.get(process.get_absolute_url()).content.decode()
    assert "/secret/" not in show(client, get_share_url(process))


def test_a_layout_leaves_out_what_is_for_those_who_are_logged_in(mine, process, own_templates, settings):
    (own_templates / "ours.html").write_text(
        '{% block progress_nav %}<form action="/logout/"></form>{% endblock %}'
        "<main>{% block content %}{% endblock %}</main>"
    )
    settings.DJANGO_PROGRESS = {"BASE_TEMPLATE": "django_progress/ours.html"}
    page = show(mine, get_share_url(process))
    assert "/logout/" not in page
    assert "<main>" in page


def test_what_it_costs(client, start, django_assert_num_queries):
    process = start(age=5)
    process.milestone("read", "Reading rows")
    address = get_share_url(process)
    poll = poll_of(show(client, address))
    with django_assert_num_queries(2):  # the link, the process
        client.get(poll, headers=HTMX)
    User.objects.create_user("x")  # Nobody is looked for.
    with django_assert_num_queries(3):  # and the milestones
        client.get(address)
