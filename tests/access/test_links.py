"""Links: one process for whoever holds one that works, and nothing at all for everybody else."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.signing import Signer
from django.test import Client
from django.utils import timezone

from django_progress import sharing
from django_progress.models import Process, ShareLink
from tests.access.asking import READING, ask, check_missing, routes, rows_of, told, url_of
from tests.access.people import ASKING, TITLE, World, account

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

LINKS = """
link             nobody  another user  owner  superuser  owner, inactive
working          see     see           see    see        see
expired          404     404           404    404        404
revoked          404     404           404    404        404
forged           404     404           404    404        404
of another site  404     404           404    404        404
the key itself   404     404           404    404        404
"""

HEAD, ROWS = rows_of(LINKS)


def token_for(link: str, process: Process) -> str:
    token = sharing.get_share_url(process).split("/")[-2]
    secret, _colon, signature = token.rpartition(":")
    match link:
        case "expired":
            ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "revoked":
            sharing.revoke_share_urls(process)
        case "forged":
            return f"{secret}:{signature[::-1]}"
        case "of another site":
            return Signer(key="another", salt="django_progress.sharing").sign(secret)
        case "the key itself":
            return str(process.key)
    return token


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].replace(" ", "_"))
@pytest.mark.parametrize("who", HEAD[1:], ids=lambda who: who.replace(" ", "_"))
def test_links(row: list[str], who: str) -> None:
    world = World("owned")
    client = ASKING[who](world)
    token = token_for(row[0], world.process)
    for name in routes("link"):
        for method, query, headers in READING:
            url = url_of(name, token=token) + query
            if row[HEAD.index(who)] == "404":
                response = check_missing(client, world.process, method, url, headers)
                assert response.status_code == 404
                assert told(response) == told(ask(client, method, url_of(name, token="never-was") + query, headers))
                continue
            response = ask(client, method, url, headers)
            if "HX-History-Restore-Request" in headers and name.endswith("-fragment"):
                assert response.status_code == 302  # To the page that it is a piece of.
            else:
                assert response.status_code == 200, (method, url, headers)
                assert (TITLE.encode() in response.content) == (method == "GET")
            assert response["Referrer-Policy"] == "no-referrer"
            assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("end", ["", "failed", "tried again", "succeeded"])
def test_a_link_leads_nowhere_else(end: str) -> None:
    world = World("owned")
    process = world.process
    Process.objects.filter(pk=process.pk).update(failure_url="/sorry/{key}/", success_url="/results/{key}/")
    token = token_for("working", process)
    if end == "succeeded":
        process.succeed({"rows": 3})
    elif end:
        process.fail("It was empty.")
    if end == "tried again":
        process.retry()
    for name in routes("link"):
        body = ASKING["nobody"](world).get(url_of(name, token=token)).content.decode()
        assert "<form" not in body
        led = re.findall(r'(?:href|action|hx-get|hx-post|src)="([^"]*)"', body)
        assert not [url for url in led if str(process.key) in url or url.startswith(("/sorry/", "/results/"))]
        leads = {url.split("?")[0] for url in led if url.startswith("/progress/")}
        assert leads <= {url_of(each, token=token) for each in routes("link")}


def test_each_link_shows_its_own_process() -> None:
    ann = account("ann")
    processes = [Process.objects.start(f"Work number {number}", owner=ann) for number in range(3)]
    tokens = [token_for("working", process) for process in processes]
    for number, token in enumerate(tokens):
        for name in routes("link"):
            for query in ("", *(f"?key={each.key}&pk={each.pk}&process={each.pk}" for each in processes)):
                body = Client().get(url_of(name, token=token) + query).content.decode()
                assert set(re.findall(r"Work number \d", body)) == {f"Work number {number}"}
