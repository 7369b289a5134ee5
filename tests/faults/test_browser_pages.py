"""Faults 70 and 80, in Chromium, on every page that there is: scripts in texts, and a strict policy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from django_progress import presence
from django_progress.models import Attempt, Process
from django_progress.sharing import get_share_url, share
from django_progress.workflows import Workflow
from tests.executing import Work, execute
from tests.faults.every_page import addresses
from tests.faults.gallery import ann, be, ben, gallery
from tests.faults.stepped import define, stepped

__all__ = ["ann", "be", "ben", "define", "gallery"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EVIL = (
    "<script>window.pwned=1</script>\"'><img src=x data-evil onerror=window.pwned=1>"
    "</bdi></p></pre></script><svg data-evil onload=window.pwned=1>{{ 7|add:7 }}"
)


# 70. A script in whatever somebody typed.


@pytest.fixture(autouse=True)
def invariants_hold() -> None:
    """Ask for none: these rows are made to be looked at."""


@pytest.fixture
def infected(ann: User, define: Callable[..., Workflow]) -> dict[str, Process]:
    """Processes of everything that people and programs write into one."""
    presence.note(EVIL, ["celery"])
    eve = User.objects.create(username=EVIL[:150])
    Process.objects.start(EVIL, owner=ann)
    common: dict[str, Any] = {"owner": ann, "task": Work(), "unit": "<b data-evil>x</b>", "context": {EVIL: EVIL}}
    made = {name: Process.objects.start(EVIL, **common, total=10) for name in ("running", "failed", "succeeded")}

    def report(process: Process) -> None:
        process.set_progress(4)
        process.milestone("<b/data-evil>", EVIL)
        process.set_message(EVIL[:80], EVIL)
        process.log(EVIL)

    def fails(process: Process) -> None:
        report(process)
        raise PermissionError(EVIL)

    def succeeds(process: Process) -> Any:
        report(process)
        return {EVIL: [EVIL]}

    execute(made["failed"], fails, worker=EVIL)
    made["failed"].refresh_from_db()
    execute(made["succeeded"], succeeds, worker=EVIL)
    said = Process.objects.start(EVIL, owner=ann)
    said.milestone("<b/data-evil>", EVIL)
    said.fail(EVIL)
    report(made["running"])
    now = timezone.now()
    Attempt.objects.create(process=made["running"], number=1, attempt_number=1, token="t", worker=EVIL, started_at=now)
    Process.objects.filter(pk=made["running"].pk).update(
        status="running", attempt_token="t", attempt_number=1, created_at=now - timedelta(minutes=5), queue=EVIL[:100]
    )
    for process in (*made.values(), said):
        share(process, eve, by=eve)
        share(process, ann, by=eve)
        get_share_url(process, by=eve)
    hers = Process.objects.start(EVIL, owner=eve)
    share(hers, ann, by=eve)
    steps = {f"step {number}": process for number, process in enumerate(stepped(define, ann, EVIL))}
    return {**made, "said": said, "hers": hers, **steps}


def test_fault_70_scripts_in_texts_are_inert(
    new_page: Callable[..., Any],
    live_server: Any,
    ann: User,
    be: Callable[[Any, User], None],
    infected: dict[str, Process],
) -> None:
    page = new_page(bypass_csp=True)  # It must not be the policy alone that holds.
    be(page, ann)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    tokens = {name: get_share_url(process) for name, process in infected.items()}
    seen = 0
    for address in addresses(list(infected.values()), list(tokens.values()), but="gallery:"):
        answer = page.goto(live_server.url + address)
        if "html" in answer.headers.get("content-type", ""):
            told = page.locator("body").inner_text()
            seen += "<script>window.pwned=1</script>" in told
            assert "14" not in re.findall(r"onload=window\.pwned=1>(\S+)", told), address
        else:
            assert answer.headers["content-type"] == "application/json", address
            assert answer.headers["x-content-type-options"] == "nosniff", address
            assert page.evaluate("document.contentType") == "application/json", address
        is_inert(page, address)
    assert seen > 40


def test_fault_70_scripts_are_inert_when_a_poll_brings_them(
    new_page: Callable[..., Any], live_server: Any, ann: User, be: Callable[[Any, User], None]
) -> None:
    page = new_page(bypass_csp=True)
    be(page, ann)
    for place in ("wait", "status", "list", "shared"):
        process = Process.objects.start("Importing", owner=ann)
        address = {
            "wait": process.get_wait_url(),
            "status": process.get_absolute_url(),
            "list": "/progress/",
            "shared": get_share_url(process),
        }[place]
        page.goto(live_server.url + address)
        page.evaluate("window.isSame = true")
        process.milestone("<b/data-evil>", f"{EVIL} on {place}")
        process.set_message("<i data-evil>", EVIL)
        page.locator("[data-dp-live]").get_by_text(f"{{{{ 7|add:7 }}}} on {place}").first.wait_for()
        assert page.evaluate("window.isSame"), place
        is_inert(page, place)


def is_inert(page: Any, address: str) -> None:
    assert page.evaluate("window.pwned") is None, address
    assert page.locator("[data-evil]").count() == 0, address
    assert page.evaluate("[...document.scripts].every((script) => script.src)"), address


# 80. The strictest policy, on every page that there is.


@pytest.fixture
def everything(ann: User, define: Callable[..., Workflow]) -> list[Process]:
    """One process for each of the pages of the gallery, and for each way to end."""

    def of(kind: str, **options: Any) -> Process:
        return Process.objects.start("Work", owner=ann, kind=kind, **options)

    at = {"name": "A", "country": "XX", "city": "A", "code": "AAA", "at": [0, 0]}
    journey = {"stops": [at, at], "duration": "1 h", "kilometres": 1}
    found = of("flight-search", task=Work(), context={"from": "A", "to": "B"})
    execute(found, lambda process: {"by": "us", "from": at, "to": at, "journeys": [journey]})
    sorry = of("flight-search", context={"from": "A", "to": "B"})
    sorry.fail("No.")
    tried = of("connect", task=Work(), max_attempts=2)
    execute(tried, lambda process: process.fail("Never."))
    counts = {"countries": [["DE", 3]], "hubs": [["FRA", 3]], "imported": 3, "refused": 0, "file": "x", "seconds": 1}
    imported, in_parts = of("airport-import"), of("airport-steps")
    for process in (imported, in_parts):
        process.succeed({"upload": 0, **counts})
    remote = of("remote-airport")
    remote.succeed({"compared": 1, "top": [{"place": at, "kilometres": 1, "neighbour": at}]})
    expired = of("expiry", max_duration=20)
    expired.expire()
    waits = [of("flight-search", task=Work(), context={"from": "A", "to": "B"}), of("", total=10), of("remote-airport")]
    waits[1].set_progress(4)
    waits[1].set_message("Stage", "Reading")
    return [found, sorry, tried, imported, in_parts, remote, expired, *waits, *stepped(define, ann, "Words")]


def test_fault_80_nothing_on_any_page_violates_a_strict_policy(
    page: Any, live_server: Any, ann: User, ben: User, be: Callable[[Any, User], None], everything: list[Process]
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(complaint(message)))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(WATCH)
    be(page, ann)
    for process in everything:
        share(process, ben, by=ann)
    theirs = Process.objects.start("Theirs", owner=ben)
    share(theirs, ann, by=ben)
    links = [get_share_url(process, by=ann) for process in everything]
    visited = addresses(everything, links)
    assert len(visited) > 60
    found: dict[str, Any] = {}

    def judge(address: str) -> None:
        if page.locator("[data-dp-live][hx-get]").count():
            page.wait_for_function("window.htmx")
        if violations := [*page.evaluate("window.violations"), *filter(None, complaints)]:
            found[address] = violations
        complaints.clear()

    for address in visited:
        answer = page.goto(live_server.url + address)
        assert answer.headers["content-security-policy"] == "default-src 'self'", address
        judge(address)
    # What only a form leads to.
    page.goto(f"{live_server.url}/flights/results/{everything[0].key}/")
    page.get_by_role("button", name="Make a link").click()
    page.get_by_label("Link to Work").wait_for()
    judge("the link that is shared")
    page.get_by_role("link", name="Look at what they see").click()
    page.get_by_text("Shared with you by a link").wait_for()
    judge("the page behind it")
    page.goto(live_server.url + reverse("admin:django_progress_process_changelist"))
    page.locator("#action-toggle").click()
    page.get_by_label("Action:").select_option("delete_selected")
    page.get_by_role("button", name="Run").or_(page.get_by_role("button", name="Go")).click()
    page.wait_for_load_state()
    judge("the question whether to delete")
    assert not found, json.dumps(found, indent=2)


def complaint(message: Any) -> str:
    """Return what is to be complained about; pieces of pages name no icon, so the browser looks for one in vain."""
    return "" if message.type != "error" or "favicon" in message.location["url"] else str(message.text)


WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


def test_fault_80_the_watch_sees_a_violation(page: Any, live_server: Any) -> None:
    page.add_init_script(WATCH)
    page.goto(live_server.url)
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.wait_for_function("window.violations.length")
