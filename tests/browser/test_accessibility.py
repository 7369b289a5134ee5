"""What people with other senses and devices meet: checked by axe, and by hand where axe doesn't look."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from django_progress.clock import DatabaseNow
from django_progress.models import Process
from django_progress.sharing import get_share_url, share
from tests.executing import Work
from tests.workers import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def addresses(ann: User) -> dict[str, str]:
    """One page for each thing that is shown differently."""
    now = timezone.now()
    counted = Process.objects.start("Importing airports", owner=ann, total=100, unit="rows")
    counted.set_progress(40)
    counted.milestone("load", "Loading rows")
    counted.set_message("Stage", "Europe")
    timed = Process.objects.start("Searching", owner=ann, max_duration=60)
    unknown = Process.objects.start("Connecting", owner=ann)
    failed = Process.objects.start("Report", owner=ann, total=10)
    failed.set_progress(4)
    failed.fail("The partner did not answer.")
    done = Process.objects.start("Report", owner=ann)
    done.succeed({"rows": 3})
    cancelled = Process.objects.start("Export", owner=ann)
    cancelled.cancel()
    queued = Process.objects.start("Report", owner=ann, task=Work())
    silent = Process.objects.start("Report", owner=ann, task=Work(), max_attempts=3)
    silent.attempt_set.create(number=1, attempt_number=1, token="t", started_at=now, lease_until=now)
    running = {"status": "running", "attempt_token": "t", "attempt_number": 1}
    Process.objects.filter(pk=silent.pk).update(**running)
    Process.objects.filter(pk=queued.pk).update(queue="nobody's", updated_at=now - timedelta(minutes=1))
    ben = User.objects.create_user("ben")
    share(Process.objects.start("Export", owner=ben, total=10), ann, by=ben)
    return {
        "counted": counted.get_wait_url(),
        "timed": timed.get_wait_url(),
        "unknown": unknown.get_wait_url(),
        "status": counted.get_absolute_url(),
        "failed": failed.get_absolute_url(),
        "done": done.get_absolute_url(),
        "cancelled": cancelled.get_absolute_url(),
        "queued": queued.get_wait_url(),
        "silent": silent.get_wait_url(),
        "list": "/progress/",
        "shared": get_share_url(counted),
        "shared, failed": get_share_url(failed),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(
    new_page: Callable[..., Any],
    log_in: Callable[[Any], None],
    live_server: Any,
    addresses: dict[str, str],
    scheme: str,
    width: int,
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    log_in(page)
    found = {}
    for name, address in addresses.items():
        page.goto(live_server.url + address)
        page.locator("[data-dp]").first.wait_for()
        results = Axe().run(page)
        if results.violations_count:
            found[name] = results.generate_report()
        # Nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    assert not found, "\n".join(f"{name}: {report}" for name, report in found.items())


def test_every_bar_has_a_name(visit: Callable[[str], Any], addresses: dict[str, str]) -> None:
    """Which axe doesn't ask of <progress>."""
    for name in ("counted", "timed", "unknown", "status", "shared", "list"):
        page = visit(addresses[name])
        bars = page.get_by_role("progressbar")
        assert bars.count(), name
        for number in range(bars.count()):
            told = bars.nth(number).evaluate(
                "bar => bar.ariaLabel || (bar.labels[0] || {}).textContent || "
                "(document.getElementById(bar.getAttribute('aria-labelledby')) || {}).textContent"
            )
            assert (told or "").strip(), name
    assert page.locator("progress:not([value])").count(), "an unknown share has no value"


def test_what_is_announced(visit: Callable[[str], Any], ann: User) -> None:
    """The region stands empty before it is filled, outside of what polls replace."""
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = visit(process.get_wait_url())
    region = page.locator("[role=status]").first
    assert region.inner_text() == ""
    assert not page.locator("[hx-get] [role=status]").count()
    process.milestone("load", "Loading rows")
    wait_until(lambda: "Loading rows" in region.inner_text(), what="the milestone to be announced")


def test_focus_and_open_details_survive_a_refresh(visit: Callable[[str], Any], ann: User) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    process.milestone("read", "Reading")
    # Details are offered once the wait is long enough to wonder.
    Process.objects.update(created_at=DatabaseNow(-20))
    page = visit(process.get_wait_url())
    page.locator("summary").first.click()
    page.get_by_role("button", name="Cancel").focus()
    process.milestone("load", "Loading rows")
    page.get_by_text("Loading rows").first.wait_for()
    assert page.locator("details").first.get_attribute("open") is not None
    assert page.evaluate("document.activeElement.textContent.trim()") == "Cancel"


def test_title_tells_how_far_on_the_wait_page_only(visit: Callable[[str], Any], ann: User) -> None:
    process = Process.objects.start("Import airports", owner=ann, total=100)
    process.set_progress(42)
    page = visit(process.get_wait_url())
    assert page.title().replace("\N{NO-BREAK SPACE}", " ") == "42 % · Import airports"
    page = visit(process.get_absolute_url())
    assert "42" not in page.title()
