"""A process leads to this site, or to a host that the project names, and nowhere else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress import sharing
from django_progress.exceptions import UnsafeURL
from django_progress.models import Process
from tests.access.asking import HTMX, url_of
from tests.executing import fresh, start
from tests.faults.browsers import browser_of
from tests.unit.conftest import engine

__all__ = ["engine"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="for ann")


ELSEWHERE = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "\t//evil.example/",
    "/\t/evil.example/",
    " //evil.example/",
    "\x00//evil.example/",
    "/ok/\r\nX-Evil: 1",
    "https://evil.example/",
    "http:evil.example",
    "https:/evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "https://good.example:pw@evil.example/",
    "https://good.example.evil.example/",
    "https://evil.example#@good.example/",
    "ftp://good.example/",
    "evil.example",
]
ENDS = {
    "redirect_url": "succeeded",
    "success_url": "succeeded",
    "failure_url": "failed",
    "expired_url": "expired",
    "cancelled_url": "cancelled",
}


@pytest.fixture
def good_host(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"ALLOWED_REDIRECT_HOSTS": ["good.example"]}


@pytest.mark.usefixtures("engine", "good_host")
@pytest.mark.parametrize("url", ELSEWHERE)
def test_fault_71_refused_when_it_is_saved(ann: User, rf: Any, url: str) -> None:
    request = rf.post("/")
    request.user = ann
    for name in ENDS:
        for given in ({"owner": ann}, {"request": request}):
            with pytest.raises(UnsafeURL, match=name):
                Process.objects.start("Work", **given, **{name: url})
        with pytest.raises(UnsafeURL, match=name):
            start(owner=ann, **{name: url})
    assert not Process.objects.exists()
    process = Process.objects.start("Work", owner=ann)
    with pytest.raises(UnsafeURL):
        process.redirect_to(url)
    with pytest.raises(UnsafeURL):
        process.succeed(redirect_url=url)
    assert fresh(process).status == "running"


@pytest.mark.usefixtures("good_host")
@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("name", list(ENDS))
def test_fault_71_refused_when_it_is_used(ann: User, admin_client: Client, url: str, name: str) -> None:
    process = Process.objects.start("Work", owner=ann)
    # As a fixture, an import or somebody's UPDATE might.
    Process.objects.filter(pk=process.pk).update(**{name: url.replace("\0", "\x01")})
    link = sharing.get_share_url(process)
    _end(fresh(process), ENDS[name])
    client = browser_of(ann)
    status = process.get_absolute_url()

    assert client.get(process.get_wait_url())["Location"] == status
    poll = url_of("process-wait-fragment", process) + "?dp-shown=x&dp-for=1"
    assert client.get(poll, headers=HTMX)["HX-Redirect"] == status
    assert client.get(poll, headers={**HTMX, "HX-History-Restore-Request": "true"}).headers.get("Location") in (
        status,
        process.get_wait_url(),
    )
    assert client.post(url_of("process-cancel", process), {"waiting": "1"})["Location"] == status
    assert client.post(url_of("process-cancel", process), {"waiting": "1"}, headers=HTMX)["HX-Redirect"] == status
    assert client.post(url_of("process-cancel", process), {"next": url})["Location"] == status
    assert client.get(url_of("process-status", process)).json()["links"]["finished"] == status
    admin = f"/admin/django_progress/process/{process.pk}/change/"
    for page, who in ((status, client), (link, Client()), (url_of("process-list"), client), (admin, admin_client)):
        answer = who.get(page)
        assert answer.status_code == 200
        for led in re.findall(r'(?:href|action|hx-get|src|content)="([^"]*)"', answer.content.decode()):
            assert "evil" not in led.lower()
            assert "script:" not in led.lower()
            assert not led.startswith(("data:", "ftp:", "//"))


def _end(process: Process, how: str) -> None:
    match how:
        case "succeeded":
            process.succeed()
        case "failed":
            process.fail("No.")
        case "expired":
            process.expire()
        case "cancelled":
            process.cancel()


@pytest.mark.usefixtures("good_host")
@pytest.mark.parametrize("url", ["https://good.example/a", "/a/{key}/", "/ä?b=c#d"])
def test_fault_71_what_is_allowed_is_followed(ann: User, url: str) -> None:
    process = Process.objects.start("Work", owner=ann, success_url=url)
    process.succeed()
    expected = url.replace("{key}", str(process.key)).replace("ä", "%C3%A4")
    assert browser_of(ann).get(process.get_wait_url())["Location"] == expected


def test_fault_71_where_a_form_returns_to_is_bounded(ann: User) -> None:
    for length, followed in ((2_000, True), (2_001, False)):
        process = Process.objects.start("Work", owner=ann)
        wanted = "/" + "n" * (length - 1)
        answer = browser_of(ann).post(url_of("process-cancel", process), {"next": wanted})
        assert (answer["Location"] == wanted) is followed
