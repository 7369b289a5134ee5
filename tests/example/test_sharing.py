"""The search that needs no account, and the links to what it found."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.models import Process, ShareLink
from django_progress.sharing import share

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("inline")]


def search(client: Client, destination: str = "JFK") -> Process:
    client.post("/flights/", {"origin": "FRA", "destination": destination})
    return Process.objects.get()


def make_link(client: Client, process: Process) -> str:
    page = client.post(f"/share/{process.key}/")
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    found = re.search(r'id="link" value="http://testserver([^"]+)"', page.content.decode())
    assert found is not None
    return unescape(found[1])


def test_visitors_search_without_an_account(client: Client, stranger: Client, settings: Any) -> None:
    assert "/progress/" not in client.get("/").content.decode()
    process = search(client)
    assert process.owner is None
    assert process.status == "succeeded"
    page = client.get(process.finished_url).content.decode()
    assert ">JFK</abbr>" in page
    # They have a list of their own by now.
    assert 'href="/progress/"' in page
    for other in (stranger, Client()):
        assert other.get(process.finished_url).status_code == 404
        assert other.post(f"/share/{process.key}/").status_code == 404


def test_visitors_are_told_when_nothing_was_found(client: Client) -> None:
    client.post("/flights/", {"origin": "MAD", "destination": "WLG"})
    process = Process.objects.get()
    assert b"only one change of planes" in client.get(process.finished_url).content


def test_airports_are_suggested_to_visitors(client: Client) -> None:
    assert '<option value="Vienna (VIE)">' in client.get("/flights/airports/", {"origin": "Vien"}).content.decode()


def test_a_link_shows_what_was_found_to_whoever_has_it(client: Client) -> None:
    process = search(client)
    assert f'action="/share/{process.key}/"' in client.get(process.finished_url).content.decode()
    page = Client().get(make_link(client, process))
    assert page.status_code == 200
    content = page.content.decode()
    assert "django_progress/flight-search/shared.html" in [template.name for template in page.templates]
    assert ">JFK</abbr>" in content
    assert "example/site.css" in content
    assert content.count("<form") == 0
    assert process.finished_url not in content
    life = ShareLink.objects.get().expires_at - ShareLink.objects.get().created_at
    assert life.total_seconds() == 86400


def test_links_are_revoked(client: Client) -> None:
    process = search(client)
    links = [make_link(client, process), make_link(client, process)]
    assert client.post(f"/share/{process.key}/", {"revoke": ""})["Location"] == process.finished_url
    assert [Client().get(link).status_code for link in links] == [404, 404]


def test_whom_it_is_shared_with_sees_the_result_and_makes_no_links(visitor: Client, stranger: Client) -> None:
    process = search(visitor)
    share(process, User.objects.get(username="bob"))
    page = stranger.get(process.finished_url)
    assert page.status_code == 200
    assert "/share/" not in page.content.decode()
    assert stranger.post(f"/share/{process.key}/").status_code == 403
    assert not ShareLink.objects.exists()


def test_links_are_made_by_post_and_with_a_token(client: Client) -> None:
    process = search(client)
    assert client.get(f"/share/{process.key}/").status_code == 405
    careful = Client(enforce_csrf_checks=True)
    careful.cookies["sessionid"] = client.cookies["sessionid"].value
    assert careful.post(f"/share/{process.key}/").status_code == 403
