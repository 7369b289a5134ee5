"""Who did what, and who else may see it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags

from django_progress import audit
from django_progress.clock import DatabaseNow
from django_progress.models import AuditEntry, Process, ShareLink
from django_progress.sharing import get_share_url, process_of_link, revoke_share_urls, share, unshare

LIST = "/admin/django_progress/auditentry/"


@pytest.fixture
def auditor(staff: Callable[..., Client]) -> Client:
    """Staff that may look at the record, and at nothing else."""
    return staff("view", model="auditentry")


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben")


def page_of(process: Process) -> str:
    return reverse("admin:django_progress_process_change", args=[process.pk])


def table(page: str, name: str) -> list[list[str]]:
    """Return the cells of a table of a process's page."""
    found = re.search(rf'id="dp-{name}".*?<tbody>(.*?)</tbody>', page, re.S)
    rows = re.findall(r"<tr>(.*?)</tr>", found[1], re.S) if found else []
    return [[" ".join(strip_tags(cell).split()) for cell in re.findall(r"<td.*?</td>", row, re.S)] for row in rows]


def listed(client: Client, query: str = "") -> list[str]:
    page = client.get(LIST + query).content.decode()
    return [strip_tags(cell).strip() for cell in re.findall(r'<td class="field-did.*?</td>', page)]


# The record of everything.


def test_everything_that_was_done_is_listed(auditor: Client, owner: User, manual: Process, ben: User) -> None:
    with audit.acting("web", owner):
        share(manual, ben)
        get_share_url(manual)
        revoke_share_urls(manual)
        unshare(manual, ben)
        manual.cancel()
    page = auditor.get(LIST).content.decode()
    assert listed(auditor) == ["cancelled", "no longer shared", "links revoked", "link created", "shared"]
    for words in ("Is moved from outside", "olga", "with ben", "1 link", "until ", ">web<"):
        assert words in page


def test_it_is_found_by_key_by_name_and_by_filters(
    auditor: Client, owner: User, manual: Process, pending: Process, ben: User
) -> None:
    manual.cancel(by=owner)
    with audit.acting("admin", ben):
        pending.cancel()
        share(pending, owner)
    for query, found in (
        (f"?q={pending.key}", ["shared", "cancelled"]),
        (f"?q={pending.key.hex}", ["shared", "cancelled"]),
        ("?q=olga", ["cancelled"]),
        ("?q=outside", ["cancelled"]),
        ("?action__exact=shared", ["shared"]),
        ("?via__exact=admin", ["shared", "cancelled"]),
        ("?q=nobody-of-that-name", []),
    ):
        assert listed(auditor, query) == found, query


def test_it_outlives_the_process_and_who_did_it(auditor: Client, finished: Process, ben: User) -> None:
    page = reverse("admin:django_progress_process_change", args=[finished.pk])
    share(finished, ben, by=ben)
    assert page in auditor.get(LIST).content.decode()
    finished.remove(by=ben)
    ben.delete()
    content = auditor.get(LIST).content.decode()
    assert listed(auditor) == ["removed", "shared"]
    assert content.count("Has finished") == 2
    assert "<bdi>ben</bdi>" in content
    assert page not in content
    entry = AuditEntry.objects.latest("pk")
    assert str(entry.process_key) in auditor.get(f"{LIST}{entry.pk}/change/").content.decode()


def test_who_has_no_account_is_called_what_they_are(auditor: Client, manual: Process, pending: Process) -> None:
    with audit.acting("web", None):
        manual.cancel()
    pending.cancel()
    page = auditor.get(LIST).content.decode()
    assert page.count("a visitor without an account") == page.count("nobody in particular") == 1


def test_it_needs_a_permission_of_its_own(changer: Client, auditor: Client, manual: Process) -> None:
    manual.cancel()
    entry = AuditEntry.objects.get()
    for url in (LIST, f"{LIST}{entry.pk}/change/"):
        assert changer.get(url).status_code == 403
        assert auditor.get(url).status_code == 200
    assert LIST in auditor.get("/admin/").content.decode()
    assert LIST not in changer.get("/admin/").content.decode()
    # And gives none of processes.
    assert auditor.get(page_of(manual)).status_code == 403


def test_nobody_changes_it(staff: Callable[..., Client], manual: Process) -> None:
    manual.cancel()
    entry = AuditEntry.objects.get()
    client = staff("view", "add", "change", "delete", model="auditentry")
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"{LIST}{entry.pk}/change/", {"actor_name": "x"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}
    client.post(LIST, selected)
    assert AuditEntry.objects.values().get() == {**AuditEntry.objects.values().get(), "actor_name": ""}


def test_its_queries_do_not_grow(auditor: Client, owner: User, ben: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert auditor.get(LIST).status_code == 200
        return len(captured)

    share(Process.objects.start("One", owner=owner), ben, by=owner)
    few = queries()
    for number in range(10):
        share(Process.objects.start(f"P{number}", owner=owner), ben, by=owner)
    assert queries() == few


def test_secrets_in_it_are_not_shown(auditor: Client, manual: Process) -> None:
    audit.record(manual, "cancelled", password="hunter2")
    entry = AuditEntry.objects.get()
    for url in (LIST, f"{LIST}{entry.pk}/change/"):
        page = auditor.get(url).content.decode()
        assert "hunter2" not in page
        assert "********" in page


# The page of one process.


def test_the_page_of_a_process_shows_what_was_done_to_it(
    viewer: Client, owner: User, manual: Process, pending: Process
) -> None:
    pending.cancel(by=owner)
    assert 'id="dp-trail"' not in viewer.get(page_of(manual)).content.decode()
    manual.cancel(by=owner)
    rows = table(viewer.get(page_of(manual)).content.decode(), "trail")
    assert [row[1:] for row in rows] == [["cancelled", "olga", "code", "-"]]


def test_only_the_last_entries_are_shown(
    viewer: Client, manual: Process, ben: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_progress.admin.trail.ENTRIES_SHOWN", 3)
    for _ in range(2):
        share(manual, ben)
        unshare(manual, ben)
    page = viewer.get(page_of(manual)).content.decode()
    assert [row[1] for row in table(page, "trail")] == ["no longer shared", "shared", "no longer shared"]
    assert "1 earlier entry is not shown." in " ".join(page.split())


def test_the_page_of_a_process_says_who_else_may_see_it(
    viewer: Client, owner: User, manual: Process, ben: User
) -> None:
    assert 'id="dp-shares"' not in viewer.get(page_of(manual)).content.decode()
    share(manual, ben, by=owner)
    get_share_url(manual)
    ShareLink.objects.update(expires_at=DatabaseNow(-1))
    get_share_url(manual, by=owner)
    revoke_share_urls(manual)
    url = get_share_url(manual, by=owner)
    page = viewer.get(page_of(manual)).content.decode()
    rows = [(who, by, until.partition(" (")[2]) for who, by, _since, until in table(page, "shares")]
    link = "Whoever holds a link"
    assert rows == [("ben", "olga", ""), (link, "olga", ""), (link, "olga", "revoked)"), (link, "-", "expired)")]
    # Nobody reads a link back.
    assert url not in page
    assert ShareLink.objects.latest("pk").secret_hash not in page


def test_links_are_revoked_by_a_button(changer: Client, viewer: Client, manual: Process) -> None:
    token = get_share_url(manual).rstrip("/").rpartition("/")[2]
    url = reverse("admin:django_progress_process_revoke", args=[manual.pk])
    assert url not in viewer.get(page_of(manual)).content.decode()
    assert viewer.post(url).status_code == 403
    assert changer.get(url).status_code == 405
    assert url in changer.get(page_of(manual)).content.decode()
    assert process_of_link(token) == manual.pk
    page = changer.post(url, follow=True).content.decode()
    assert "The links to 1 process were revoked." in page
    assert process_of_link(token) is None
    assert url not in page
    assert (
        "1 process was left as it is, because no link leads to it." in changer.post(url, follow=True).content.decode()
    )
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.via, entry.actor_name) == (
        "unlinked",
        "admin",
        User.objects.get(user_permissions__codename="change_process").username,
    )


def test_links_of_many_are_revoked_by_an_action(changer: Client, manual: Process, pending: Process) -> None:
    tokens = [get_share_url(process).rstrip("/").rpartition("/")[2] for process in (manual, pending)]
    selected = {"action": "revoke_selected", "_selected_action": [manual.pk, pending.pk]}
    page = changer.post(reverse("admin:django_progress_process_changelist"), selected, follow=True).content.decode()
    assert "The links to 2 processes were revoked." in page
    assert [process_of_link(token) for token in tokens] == [None, None]


def test_deleting_counts_shares_and_links(staff: Callable[..., Client], finished: Process, ben: User) -> None:
    share(finished, ben)
    get_share_url(finished)
    client = staff("view", "delete")
    page = client.get(reverse("admin:django_progress_process_delete", args=[finished.pk])).content.decode()
    assert "Shares: 1" in page
    assert "Links: 1" in page
    client.post(reverse("admin:django_progress_process_delete", args=[finished.pk]), {"post": "yes"})
    assert not Process.objects.exists()
    assert AuditEntry.objects.latest("pk").action == "removed"
