"""The honest wait in Chromium: it follows what happens, says nothing aloud, and is fit to be seen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from django_progress import errors, presence
from django_progress.clock import DatabaseNow
from django_progress.models import Attempt, Process
from tests.executing import Work
from tests.workers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NOBODY = "No worker is taking this kind of work at the moment."


@pytest.fixture
def pending(ann: User) -> Callable[..., Process]:
    """Start a process that has waited for a while in a queue to which nothing is sent."""

    def pending(description: str = "Import airports", **row: Any) -> Process:
        process = Process.objects.start(description, owner=ann, task=Work(), max_attempts=3)
        waited = {"created_at": DatabaseNow(-120), "updated_at": DatabaseNow(-120), "queue": "mail"}
        Process.objects.filter(pk=process.pk).update(**{**waited, **row})
        return process

    return pending


@pytest.fixture
def running(pending: Callable[..., Process]) -> Callable[..., Process]:
    """Start one that executes and was last heard of ``quiet`` seconds ago."""

    def running(description: str = "Import airports", quiet: float = 0, lease: float = 60, **row: Any) -> Process:
        row = {"status": "running", "attempt_number": 1, "started_at": DatabaseNow(-100), **row}
        process = pending(description, updated_at=DatabaseNow(-quiet), **row)
        Process.objects.filter(pk=process.pk).update(attempt_token=str(process.pk))
        attempt(process, token=str(process.pk), lease_until=timezone.now() + timedelta(seconds=lease))
        return process

    return running


def attempt(process: Process, **row: Any) -> None:
    row = {"number": 1, "attempt_number": 1, "token": f"{process.pk}-1", **row}
    Attempt.objects.create(process=process, started_at=timezone.now(), **row)


def notes(page: Any) -> str:
    found = page.locator(".dp-notes")
    return " ".join(found.inner_text().split()) if found.count() else ""


def test_the_wait_is_told_as_it_changes(visit: Callable[[str], Any], pending: Callable[..., Process]) -> None:
    first, process = pending(), pending()
    page = visit(process.get_wait_url())
    page.evaluate("window.isSame = true")
    region = page.locator("[role=status]").first
    assert NOBODY in notes(page)

    presence.note("worker@host", ["mail"])
    wait_until(lambda: notes(page) == "1 other is ahead of it in the queue.", what="the queue")
    first.cancel()
    wait_until(lambda: notes(page) == "It is next in the queue.", what="the queue to move")
    presence.forget("worker@host")
    wait_until(lambda: NOBODY in notes(page), what="the worker to be missed")

    row = {"status": "running", "attempt_token": "t", "attempt_number": 1}
    attempt(process, token="t", lease_until=timezone.now() + timedelta(seconds=60))
    Process.objects.filter(pk=process.pk).update(**row)
    wait_until(lambda: notes(page) == "Still working; last news 2 min ago.", what="the quiet")
    Attempt.objects.update(lease_until=DatabaseNow(-1))
    page.get_by_text("Its worker has gone silent").wait_for()
    lost = {"outcome": "lost", "error": errors.LOST, "finished_at": timezone.now()}
    Attempt.objects.update(**lost)
    later = {"next_attempt_at": timezone.now() + timedelta(seconds=30)}
    Process.objects.filter(pk=process.pk).update(status="pending", attempt_token="", **later)
    wait_until(lambda: notes(page) == "The worker was lost.", what="the loss")
    assert page.get_by_text("Trying again in a moment (attempt 2 of 3)").is_visible()

    # None of it was announced, and none of it took a new page.
    assert region.inner_text() == ""
    assert page.evaluate("window.isSame")
    assert not visit.complaints  # type: ignore[attr-defined]


def test_it_is_told_without_scripts(
    new_page: Callable[..., Any], log_in: Callable[[Any], None], live_server: Any, pending: Callable[..., Process]
) -> None:
    page = new_page(java_script_enabled=False)
    log_in(page)
    page.goto(live_server.url + pending().get_wait_url())
    assert NOBODY in notes(page)
    presence.note("worker@host", ["mail"])
    page.get_by_role("link", name="Refresh now").click()
    assert notes(page) == "It is next in the queue."


def test_nothing_moves_where_nobody_works(visit: Callable[[str], Any], running: Callable[..., Process]) -> None:
    def moving(process: Process) -> bool:
        page = visit(process.get_wait_url())
        page.locator(".dp-state").wait_for()
        return bool(page.evaluate("document.querySelector('.dp-live').getAnimations({subtree: true}).length"))

    assert moving(running(quiet=90))
    assert not moving(running(quiet=90, lease=-1))


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_notes_stand_under_the_words_that_they_belong_to(
    new_page: Callable[..., Any],
    log_in: Callable[[Any], None],
    live_server: Any,
    pending: Callable[..., Process],
    running: Callable[..., Process],
    width: int,
) -> None:
    again = pending("Connect", attempt_number=1, next_attempt_at=timezone.now() + timedelta(hours=1))
    attempt(again, outcome="failed", error="https://example.com/" + "very-long-" * 20, finished_at=timezone.now())
    page = new_page(viewport={"width": width, "height": 800})
    log_in(page)
    for process in (pending("Nobody works"), again, running("Silent", quiet=200, lease=-5, total=100, current=40)):
        for address in (process.get_wait_url(), process.get_absolute_url()):
            page.goto(live_server.url + address)
            page.locator(".dp-notes").wait_for()
            # In one go, since a poll may replace them.
            words, note, after = page.evaluate(PLACES)
            assert abs(words["left"] - note["left"]) < 1
            assert 0 <= note["top"] - words["bottom"] < 10 < after["top"] - note["bottom"] < 20
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), address


PLACES = """() => {
    const place = (element) => {
        const range = document.createRange();
        range.selectNodeContents(element);
        return range.getBoundingClientRect().toJSON();
    };
    return [".dp-state > span", ".dp-notes", ".dp-notes + *"].map((found) => place(document.querySelector(found)));
}"""
