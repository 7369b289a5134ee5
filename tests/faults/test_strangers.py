"""Visitors without an account, and whoever holds a link."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_progress import sharing
from django_progress.models import Process, ShareLink
from tests.access.asking import ANSWERED, HTMX, JSON, ask, is_login, routes, state, url_of
from tests.executing import fresh, start
from tests.faults.browsers import browser_of, started_by
from tests.unit.conftest import engine

__all__ = ["engine"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="for ann")


@pytest.fixture
def ben() -> User:
    return User.objects.create_user("ben", password="for ben")


def _log_in(client: Client, user: User) -> None:
    form = {"username": user.username, "password": f"for {user.username}"}
    assert client.post("/accounts/login/?next=/parcels/", form)["Location"] == "/parcels/"


def _sees(client: Client, process: Process) -> bool:
    answers = set()
    for name in routes("page") + routes("json"):
        answer = client.get(url_of(name, process)).status_code
        answers.add(200 if answer == ANSWERED.get(name) else answer)
    listed = str(process.key).encode() in client.get(url_of("process-list")).content
    assert answers in ({200}, {302, 404}, {404})
    assert listed == (answers == {200})
    return listed


@pytest.mark.usefixtures("engine")
def test_fault_78_a_visitor_logs_in(ann: User) -> None:
    client = browser_of()
    process = started_by(client)
    elsewhere = browser_of(ann)
    before = client.cookies["sessionid"].value
    assert _sees(client, process)
    assert not _sees(elsewhere, process)
    _log_in(client, ann)
    assert client.cookies["sessionid"].value != before
    assert _sees(client, process)
    assert _sees(elsewhere, process)
    assert fresh(process).owner == ann


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("logs_out", [True, False])
def test_fault_78_another_user_in_the_same_browser(ann: User, ben: User, logs_out: bool) -> None:
    client = browser_of()
    process = started_by(client)
    _log_in(client, ann)
    later = started_by(client)
    if logs_out:
        client.post("/accounts/logout/")
        assert not _sees(client, process)
    _log_in(client, ben)
    assert not _sees(client, process)
    assert not _sees(client, later)
    assert {fresh(process).owner, fresh(later).owner} == {ann}
    client.post("/accounts/logout/")
    assert not _sees(client, process)


@pytest.mark.usefixtures("engine")
def test_fault_78_a_session_key_that_somebody_chose(ann: User) -> None:
    chosen = "c" * 32
    attacker, victim = browser_of(), browser_of()
    attacker.cookies["sessionid"] = victim.cookies["sessionid"] = chosen
    process = _started_by_post(victim)
    assert victim.cookies["sessionid"].value != chosen
    assert _sees(victim, process)
    assert not _sees(attacker, process)


@pytest.mark.usefixtures("engine")
def test_fault_78_a_session_that_somebody_knows(ann: User) -> None:
    victim = browser_of()
    process = _started_by_post(victim)
    knowing = browser_of()
    knowing.cookies["sessionid"] = victim.cookies["sessionid"].value
    _log_in(victim, ann)
    later = started_by(victim)
    # Whoever knew the key before the login has nothing any more: it was changed, and the token used up.
    assert _sees(victim, process)
    assert not _sees(knowing, process)
    assert not _sees(knowing, later)


def _started_by_post(client: Client) -> Process:
    client.post("/flights/search/", {"query": "direct"})
    process = Process.objects.latest("pk")
    assert process.owner is None
    assert process.visitor
    return process


@pytest.mark.usefixtures("engine")
def test_fault_79_a_link_that_was_tampered_with(ann: User) -> None:
    url = sharing.get_share_url(start(owner=ann))
    assert Client().get(url).status_code == 200
    token = url.split("/")[-2]
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        # Of a signature's last letter not every bit counts; what it says must not be another thing.
        if place < len(token) - 1:
            assert Client().get(url.replace(token, changed)).status_code == 404, place
    for changed in (token[:-2], token + "A", token.rpartition(":")[0], f":{token}", token.swapcase()):
        assert Client().get(url.replace(token, changed)).status_code == 404


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("how", ["expired", "revoked", "removed"])
def test_fault_79_a_link_that_works_no_more(ann: User, how: str) -> None:
    process = start(owner=ann)
    url = sharing.get_share_url(process, expires=60)
    client = Client()
    poll = f"{url}fragment/?dp-shown=x"
    assert (client.get(url).status_code, client.get(poll, headers=HTMX).status_code) == (200, 200)
    match how:
        case "expired":
            ShareLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "revoked":
            sharing.revoke_share_urls(process)
        case "removed":
            process.cancel()
            process.remove()
    assert (client.get(url).status_code, client.get(poll, headers=HTMX).status_code) == (404, 404)


@pytest.mark.usefixtures("engine")
def test_fault_79_a_link_replayed_to_do_something(ann: User) -> None:
    process, other = start(owner=ann), start("Other work", owner=ann)
    failed = start(owner=ann)
    failed.fail("No.")
    token = sharing.get_share_url(process).split("/")[-2]
    client = Client()
    before = [state(each) for each in (process, other, failed)]
    shared = url_of("process-shared", token=token)
    for url in (shared, f"{shared}fragment/"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert ask(client, method, url, JSON).status_code == 405
    for verb in ("cancel", "retry", "status", "events", "wait"):
        for method in ("GET", "POST"):
            assert ask(client, method, f"{shared}{verb}/", {}).status_code == 404
            assert ask(client, method, f"/progress/{token}/{verb}/", {}).status_code == 404
    headers = {"Authorization": f"Bearer {token}", "X-Token": token, "Referer": f"http://testserver{shared}", **JSON}
    for name, each in itertools.product(routes("verb"), (process, other, failed)):
        assert ask(client, "POST", f"{url_of(name, each)}?token={token}", headers).status_code == 404
        form = client.post(url_of(name, each), {"token": token, "next": shared}, headers={"Referer": shared})
        assert is_login(form, {})
    for name, each in itertools.product(routes("json"), (process, other)):
        assert ask(client, "GET", f"{url_of(name, each)}?token={token}", headers).status_code == 404
    assert [state(each) for each in (process, other, failed)] == before
