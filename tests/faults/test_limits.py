"""Limits, each at its edge: as much as is allowed, and one more."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_progress import sharing, tracking
from django_progress.clock import DatabaseNow
from django_progress.exceptions import UnsafeURL
from django_progress.models import AuditEntry, Process, ShareLink
from django_progress.retention import prune
from tests.access.asking import url_of
from tests.executing import execute, fresh, start
from tests.unit.conftest import engine

__all__ = ["engine"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


@pytest.fixture
def limit(settings: Any) -> Callable[..., None]:
    """Set some of the app's settings."""

    def limit(**chosen: Any) -> None:
        settings.DJANGO_PROGRESS = chosen

    return limit


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def client(ann: User) -> Client:
    client = Client()
    client.force_login(ann)
    return client


def test_max_text(limit: Callable[..., None]) -> None:
    limit(MAX_TEXT=20)
    whole, longer, cut = "x" * 20, "x" * 21, "x" * 19 + "…"
    for given, stored in ((whole, whole), (longer, cut), (longer * 1000, cut)):
        process = start(given)
        process.milestone("read", given)
        process.log(given)
        process.set_message("Stage", given)
        process.fail(given)
        process = fresh(process)
        assert (process.description, process.milestone_message, process.error) == (stored,) * 3
        assert process.messages == [("Stage", stored)]
        texts = process.event_set.filter(seq__gt=1).values_list("message", flat=True)
        assert set(texts) == {stored}


@pytest.mark.parametrize("character", ["x", "é", "\N{GRINNING FACE}"])
def test_max_json(limit: Callable[..., None], character: str) -> None:
    limit(MAX_JSON=10_000)
    # Counted in bytes, the quotes too.
    fits = character * (9_996 // len(character.encode())) + "xx"
    process = start(context=fits, args=[fits[:-2]], kwargs={})
    process.set_result(fits)
    assert fresh(process).result == fresh(process).context == fits
    for refused in (
        lambda: process.set_result(fits + "x"),
        lambda: process.succeed(fits + "x"),
        lambda: process.milestone("read", details={"": fits}),
        lambda: start(context=fits + "x"),
        lambda: start(args=[fits[:-2] + "x"]),
        lambda: start(kwargs={"": fits}),
        lambda: start(details={"": fits}),
        lambda: start(options={"": fits}),
    ):
        with pytest.raises(ValueError, match="is larger than 10000 bytes of JSON"):
            refused()
    assert Process.objects.count() == 1
    execute(process, lambda process: fits)
    assert fresh(process).result == fits
    longer = start()
    execute(longer, lambda process: fits + "x")
    assert fresh(longer).status == "succeeded"
    assert "is larger than 10000 bytes" in fresh(longer).result["not_stored"]


def test_max_messages(limit: Callable[..., None]) -> None:
    limit(MAX_MESSAGES=3)
    process = Process.objects.start("Work")
    for key in "abc":
        process.set_message(key, "first")
    with pytest.raises(ValueError, match="There are 3 messages already"):
        process.set_message("d", "one more")
    process.set_message("a", "again")
    assert fresh(process).messages == [("a", "again"), ("b", "first"), ("c", "first")]


def test_max_events(limit: Callable[..., None]) -> None:
    limit(MAX_EVENTS=4)
    process = Process.objects.start("Work")
    for number in range(2, 5):
        assert not process.snapshot().truncated
        process.log(f"line {number}")
    assert process.snapshot().truncated
    process.log("line 5")
    process.set_message("Stage", "shown, and not logged")
    assert fresh(process).last_seq == 4
    process.milestone("kept")
    process.succeed()
    types = fresh(process).event_set.order_by("seq").values_list("type", flat=True)
    assert list(types) == ["milestone", "log", "log", "log", "milestone", "succeeded"]


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes only when it is told to."""
    clock = Clock()
    monkeypatch.setattr(tracking, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_report_interval(limit: Callable[..., None], clock: Clock) -> None:
    limit(REPORT_INTERVAL=3, PROGRESS_EVENT_INTERVAL=1e6)
    process = Process.objects.start("Work")
    process.advance()
    for passed, written in ((0, 1), (2.99, 1), (3, 4), (5.99, 4), (6, 6)):
        clock.now = 1_000 + passed
        process.advance()
        assert fresh(process).current == written, passed


def test_progress_event_interval(limit: Callable[..., None], clock: Clock) -> None:
    limit(REPORT_INTERVAL=0.001, PROGRESS_EVENT_INTERVAL=7)
    process = Process.objects.start("Work")
    process.advance()
    process._ticks().event_at = 1_000
    for passed, events in ((1, 0), (6.99, 0), (7, 1), (13.99, 1), (14, 2)):
        clock.now = 1_000 + passed
        process.advance()
        assert process.event_set.filter(type="progress").count() == events, passed


def test_events_page_size(limit: Callable[..., None], ann: User, client: Client) -> None:
    limit(EVENTS_PAGE_SIZE=3)
    process = Process.objects.start("Work", owner=ann)
    process.log("2")
    process.log("3")

    def page(query: str = "") -> list[int]:
        return [event["seq"] for event in client.get(url_of("process-events", process) + query).json()["events"]]

    assert page() == page("?limit=4") == [1, 2, 3]
    process.log("4")
    assert page() == page("?limit=4") == page("?limit=3") == [1, 2, 3]
    assert page("?limit=2") == [1, 2]
    assert page("?after=3") == [4]


def test_page_size(limit: Callable[..., None], ann: User, client: Client) -> None:
    limit(PAGE_SIZE=2)
    for number in (1, 2):
        Process.objects.start(f"Work {number}", owner=ann)
    page = client.get(url_of("process-list")).content.decode()
    assert "?before=" not in page
    Process.objects.start("Work 3", owner=ann)
    page = client.get(url_of("process-list")).content.decode()
    older = re.findall(r'href="([^"]*\?before=[^"]*)"', page)
    assert len(older) == 1
    assert [number for number in "123" if f"Work {number}" in page] == ["2", "3"]
    page = client.get(older[0]).content.decode()
    assert [number for number in "123" if f"Work {number}" in page] == ["1"]


@pytest.mark.parametrize(("age", "seconds"), [(0, 1.5), (9, 1.5), (10, 4), (59, 4), (60, 20), (7200, 20)])
def test_poll_intervals(limit: Callable[..., None], ann: User, client: Client, age: float, seconds: float) -> None:
    limit(POLL_INTERVALS=(1.5, 4, 20))
    process = Process.objects.start("Work", owner=ann)
    Process.objects.filter(pk=process.pk).update(created_at=timezone.now() - timedelta(seconds=age))
    assert client.get(url_of("process-status", process))["Retry-After"] == str(math.ceil(seconds))
    for name in ("process-wait", "process-detail", "process-wait-fragment", "process-status-fragment", "process-list"):
        page = client.get(url_of(name, process)).content.decode()
        least = int(re.findall(r'hx-trigger="every (\d+)ms', page)[0])
        # Later by a fifth at most, so that not all ask at once.
        assert seconds * 1000 <= least <= seconds * 1200, name
    process.succeed()
    answer = client.get(url_of("process-status", process))
    assert "Retry-After" not in answer
    assert "hx-trigger" not in client.get(url_of("process-detail", process)).content.decode()


def test_share_link_age(limit: Callable[..., None], ann: User) -> None:
    limit(SHARE_LINK_AGE=100)
    url = sharing.get_share_url(start(owner=ann))
    link = ShareLink.objects.get()
    assert link.expires_at - link.created_at == timedelta(seconds=100)
    limit(SHARE_LINK_AGE=1e15)
    with pytest.raises(ValueError, match="SHARE_LINK_AGE must be between"):
        sharing.get_share_url(start())
    ShareLink.objects.update(expires_at=DatabaseNow(60))
    assert Client().get(url).status_code == 200
    ShareLink.objects.update(expires_at=DatabaseNow())
    assert Client().get(url).status_code == 404


def test_keep_audit_where_finished_processes_are_kept_for_ever(limit: Callable[..., None]) -> None:
    limit(KEEP_FINISHED=0, KEEP_AUDIT=3_600)
    for _ in range(2):
        start().cancel()
    AuditEntry.objects.filter(pk=AuditEntry.objects.latest("pk").pk).update(happened_at=DatabaseNow(-3_601))
    AuditEntry.objects.exclude(pk=AuditEntry.objects.latest("pk").pk).update(happened_at=DatabaseNow(-3_500))
    assert prune() == 0
    assert (AuditEntry.objects.count(), Process.objects.count()) == (1, 2)


def test_links_that_work_no_more_are_pruned() -> None:
    process = start()
    kept, expired, revoked = (sharing.get_share_url(process).split("/")[-2] for _ in range(3))
    links = ShareLink.objects.order_by("pk")
    ShareLink.objects.filter(pk=links[1].pk).update(expires_at=DatabaseNow())
    ShareLink.objects.filter(pk=links[2].pk).update(revoked_at=DatabaseNow())
    prune()
    assert [sharing.process_of_link(token) for token in (kept, expired, revoked)] == [process.pk, None, None]
    assert ShareLink.objects.count() == 1


# Those that no setting changes, because columns and addresses have that size.


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda size: {"kind": "k" * size(100)}, "kind must be a slug"),
        (lambda size: {"success_url": "/" + "u" * size(1_999)}, "longer than 2,000"),
        (lambda size: {"max_attempts": size(2**31 - 1)}, "less than 2"),
        (lambda size: {"max_duration": size(10 * 366 * 86400)}, "ten years"),
        (lambda size: {"total": size(2**53) + (size(0) > 0)}, "2\\*\\*53"),
        (lambda size: {"context": nested(size(30))}, "nested more than 30"),
    ],
    ids=["kind", "url", "attempts", "duration", "total", "depth"],
)
def test_of_a_start(given: Any, says: str) -> None:
    fresh(start(**given(lambda most: most)))
    with pytest.raises((ValueError, UnsafeURL), match=says):
        start(**given(lambda most: most + 1))
    assert Process.objects.count() == 1


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_of_names() -> None:
    process = Process.objects.start("Work", unit="u" * 33)
    assert process.unit == "u" * 31 + "…"
    process.milestone("m" * 64, type="t" * 64)
    for given in ({"name": "m" * 65}, {"name": "m", "type": "t" * 65}):
        with pytest.raises(ValueError, match="1 to 64"):
            process.milestone(**given)
    for key, stored in (("k" * 100, "k" * 100), ("l" * 101, "l" * 99 + "…")):
        process.set_message(key, "x")
        assert fresh(process).messages[-1][0] == stored


def test_of_an_idempotency_key(ann: User) -> None:
    """It is stored as a hash, so one that is as long as a header may be takes no more room."""
    longest = "k" * 1_000_000
    first = start(owner=ann, idempotency_key=longest)
    assert start(owner=ann, idempotency_key=longest) == first
    assert start(owner=ann, idempotency_key=longest + "k") != first
    assert len(first.idempotency_hash or "") == 64


def test_of_what_is_recorded() -> None:
    process = start("t" * 300)
    user = User.objects.create_user("u" * 150)
    process.cancel(by=user)
    entry = AuditEntry.objects.get()
    assert (entry.process_title, entry.actor_name) == ("t" * 254 + "…", "u" * 150)
