"""Faults 62 and 65 to 67: what stands between a browser and its stream, many browsers, many tabs, and the way back."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from httpx_sse import EventSource

import django_progress
from django_progress.models import Process
from django_progress.views.polls import trigger
from tests.browser.streaming import APPLICATION, CATCH, OFTEN, Tab, ann, new_tab, report, site, tab, wait_for, wake_ups
from tests.faults.buffering import buffered
from tests.push.serving import Site, client_of, serve
from tests.workers import wait_until

__all__ = ["ann", "new_tab", "site", "tab", "wake_ups"]

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

SCRIPT = Path(django_progress.__file__).parent / "static" / "django_progress" / "stream.js"


# 62. Streams that can't be had, or don't come through.


def test_fault_62_wsgi(page: Any, live_server: Any, ann: User, settings: Any) -> None:
    """The page asks for a stream, since it is told that there are some; it is refused at once, and polls."""
    settings.DJANGO_PROGRESS = {"POLL_INTERVALS": OFTEN, "STREAMS": "always"}
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    client = Client()
    client.force_login(ann)
    session = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
    process = Process.objects.start("Importing", owner=ann, total=100, redirect_url="/parcels/")
    page.goto(live_server.url + process.get_wait_url())
    for current in (10, 20, 30):
        report(process, current)
        wait_for(page, current)
    address = f"{reverse('django_progress:process-page-stream')}?poll={process.get_wait_url()}"
    begun = time.monotonic()
    assert page.evaluate("(url) => fetch(url).then((answer) => answer.status)", address) == 406
    assert time.monotonic() - begun < 1
    # It asks again, less and less often.
    assert 1 <= len([url for url in asked if "/stream/" in url]) <= 4
    process.succeed()
    page.wait_for_url("**/parcels/")


def test_fault_62_compressing_middleware(new_tab: Callable[..., Tab], wake_ups: dict[str, Any], ann: User) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    poll = reverse("django_progress:process-wait-fragment", args=[process.key])
    with serve("tests.browser.asgi_gzip:application") as site, client_of(ann, base_url=site.url, timeout=20) as client:
        compressed = client.get(process.get_wait_url(), headers={"Accept-Encoding": "gzip"})
        assert compressed.headers["Content-Encoding"] == "gzip"
        query = {"poll": f"{poll}?dp-shown=nothing"}
        begun = time.monotonic()
        address = reverse("django_progress:process-page-stream")
        with client.stream("GET", address, params=query, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "identity"
            events = (event for event in EventSource(answer).iter_sse() if event.data)
            assert next(events).event == "hello"
            assert next(events).event == "live"
            assert time.monotonic() - begun < 1
        tab = new_tab(site)
        page = tab.open(process.get_wait_url())
        tab.wait_for_stream()
        report(process, 10)
        wait_for(page, 10)
        assert not tab.polls


def test_fault_62_buffering_proxy(new_tab: Callable[..., Tab], wake_ups: dict[str, Any], ann: User) -> None:
    """Nothing of a stream comes through, and polls go on as if there were none."""
    process = Process.objects.start("Importing", owner=ann, total=100, redirect_url="/parcels/")
    settings = {"POLL_INTERVALS": OFTEN, "STREAM_LIFETIME": 30}
    with serve(APPLICATION, **settings) as site, buffered(site.url) as url:
        tab = new_tab(site)
        tab.url = url
        page = tab.open(process.get_wait_url())
        wait_until(lambda: tab.is_streaming() or tab.streams, what="the stream to be asked for")
        for current in (10, 20, 30):
            report(process, current)
            begun = time.monotonic()
            wait_for(page, current)
            assert time.monotonic() - begun < 3
        assert not tab.is_streaming()
        assert len(tab.polls) >= 3
        process.succeed()
        page.wait_for_url("**/parcels/")


# 65. A thousand who poll, after a deploy.


def test_fault_65_polls_that_begin_together_drift_apart() -> None:
    """All have loaded their page at the same moment; each poll brings a new interval."""
    moments = [0.0] * 1_000
    for turn in range(1, 11):
        moments = [moment + interval(trigger(1.0)) for moment in moments]
        most = Counter(int(moment * 20) for moment in moments).most_common(1)[0][1]  # in 50 ms
        assert most < {1: 400, 10: 170}.get(turn, 350), (turn, most)


def interval(trigger: str) -> float:
    found = re.match(r"every (\d+)ms", trigger)
    assert found
    return int(found[1]) / 1000


def test_fault_65_streams_that_break_together_are_not_asked_for_together(new_page: Callable[..., Any]) -> None:
    """A thousand pages, all with the script, lose their stream at the same moment: when do they ask for what?"""
    page = new_page(bypass_csp=True)
    page.goto("about:blank")
    polled, opened = page.evaluate(THOUSAND, SCRIPT.read_text())
    assert len(polled) == len(opened) == 1_000
    for moments, least, longest in ((polled, 0, 3000), (opened, 1000, 3000)):
        assert least <= min(moments)
        # Timers may be late where the machine is busy, by which they don't come closer.
        assert max(moments) >= longest * 0.9
        most = Counter(int(moment // 200) for moment in moments).most_common(1)[0][1]
        assert most < 250, most


THOUSAND = """async (source) => {
    const streams = [], polled = [], opened = [];
    let broken = 0;
    const script = new Function("window", "document", "EventSource", "performance", "setTimeout", source);
    for (let number = 0; number < 1000; number += 1) {
        const live = { id: "live", getAttribute: () => "/poll/", querySelectorAll: () => [] };
        const djangoProgress = {
            polled: () => [live],
            poke: () => polled.push(planned),
            hear: () => {},
        };
        let planned;
        class Source {
            constructor() {
                this.handlers = {};
                if (broken) opened.push(planned);
                else streams.push(this);
            }
            addEventListener(name, handle) { this.handlers[name] = handle; }
            close() {}
        }
        const document = {
            currentScript: { dataset: { dpStream: "/stream/" } },
            addEventListener: () => {},
        };
        const window = { djangoProgress, EventSource: Source, addEventListener: () => {} };
        const performance = { getEntriesByType: () => [{ nextHopProtocol: "h2" }] };
        // What is planned for later is done at once, and the time noted for which it was planned.
        const setTimeout = (use, time) => {
            if (!broken) return time === 50 ? (use(), 0) : 0;
            Promise.resolve().then(() => { planned = time; if (time < 5000) use(); });
            return 0;
        };
        script(window, document, Source, performance, setTimeout);
    }
    for (const stream of streams) stream.handlers.hello({ data: '{"held": {"live": 30000}, "alive": 30000}' });
    broken = 1;
    for (const stream of streams) stream.onerror();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return [polled, opened];
}"""


# 66. Seven tabs, where a browser opens six connections.


def test_fault_66_seven_tabs(new_tab: Callable[..., Tab], site: Site, ann: User) -> None:
    processes = [Process.objects.start(f"Import {number}", owner=ann, total=100) for number in range(7)]
    first = new_tab(site)
    tabs = [first, *(new_tab(site, first.page.context) for _ in range(6))]
    for one, process in zip(tabs, processes, strict=True):
        one.open(process.get_wait_url())
    wait_until(lambda: count_streams(tabs) == 2, what="two of them to have a stream")
    # The site still loads, in each of them and in one more.
    for one in tabs:
        begun = time.monotonic()
        assert one.page.evaluate("fetch('/parcels/').then((answer) => answer.status)") == 200
        assert time.monotonic() - begun < 5
    begun = time.monotonic()
    new_tab(site, first.page.context).open("/parcels/")
    assert time.monotonic() - begun < 5
    # Who has none takes over when one is free.
    streaming = [one for one in tabs if one.is_streaming()]
    assert len(streaming) == 2
    for one in streaming:
        one.page.close()
    left = [one for one in tabs if one not in streaming]
    wait_until(lambda: count_streams(left) == 2, what="two others to have one")
    for one, process in zip(tabs, processes, strict=True):
        if one in left and one.is_streaming():
            report(process, 40)
            wait_for(one.page, 40)


def count_streams(tabs: list[Tab]) -> int:
    return sum(one.is_streaming() for one in tabs)


# 67. The way back.


@pytest.mark.parametrize("way", ["wait", "host/2", "host/4"])
def test_fault_67_back_button(tab: Tab, ann: User, way: str) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = tab.open(process.get_wait_url() if way == "wait" else f"/{way}/{process.key}/")
    tab.wait_for_stream()
    report(process, 10)
    wait_for(page, 10)
    page.goto(f"{tab.url}/parcels/")
    report(process, 30)
    page.go_back()
    wait_for(page, 30)
    tab.wait_for_stream()
    report(process, 50)
    wait_for(page, 50)
    assert not tab.complaints


@pytest.mark.parametrize("version", [2, 4])
def test_fault_67_history_that_htmx_restores(tab: Tab, ann: User, version: int) -> None:
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = open_together(tab, process, version)
    leave(tab)
    wait_until(lambda: page.evaluate("window.source.readyState") == 2, what="the stream to end")
    report(process, 30)
    page.go_back()
    wait_for_all(page, 30)
    tab.wait_for_stream()
    report(process, 50)
    wait_for_all(page, 50)


@pytest.mark.parametrize("version", [2, 4])
def test_fault_67_back_before_the_stream_has_ended(tab: Tab, ann: User, version: int) -> None:
    """What it has told a page that showed nothing of it isn't told again."""
    process = Process.objects.start("Importing", owner=ann, total=100)
    tab.page.add_init_script(SLOW)
    page = open_together(tab, process, version)
    page.evaluate(LISTEN)
    page.evaluate("window.isSlow = true")
    leave(tab)
    report(process, 30)
    wait_until(lambda: page.evaluate("window.told.join()").endswith("live,live,poke"), what="the news for all three")
    assert page.evaluate("window.source.readyState") == 1
    page.go_back()
    wait_until(lambda: page.locator("[data-dp-live]").count() == 3, what="the page")
    page.evaluate("window.goOn()")
    wait_for_all(page, 30)
    tab.wait_for_stream()
    report(process, 50)
    wait_for_all(page, 50)


def test_fault_67_history_older_than_what_the_stream_has_told(tab: Tab, ann: User) -> None:
    """Two pages show the same, one after the other, and the stream goes on; htmx 2 restores the first as it was."""
    process = Process.objects.start("Importing", owner=ann, total=100)
    page = open_together(tab, process, 2)
    page.get_by_role("link", name="Again").click()
    page.wait_for_url("**/together/?again")
    report(process, 30)
    wait_for_all(page, 30)
    assert len(tab.streams) == 1
    page.evaluate("document.addEventListener('htmx:historyRestore', () => (window.restored = true))")
    page.go_back()
    wait_until(lambda: page.evaluate("window.restored"), what="the first page")
    wait_for_all(page, 30)
    assert tab.is_same


def open_together(tab: Tab, process: Process, version: int) -> Any:
    """Open a page that shows a process three times, with its stream in ``window.source``, and at 10."""
    tab.page.add_init_script(CATCH)
    page = tab.open(f"/host/{version}/{process.key}/together/")
    tab.wait_for_stream()
    report(process, 10)
    wait_for_all(page, 10)
    return page


def leave(tab: Tab) -> None:
    """Go to a page that shows nothing of it, as htmx does that, without loading a page."""
    tab.page.get_by_role("link", name="Parcels").click()
    tab.page.wait_for_url("**/parcels/")
    wait_until(lambda: not tab.page.locator("[data-dp-live]").count(), what="the other page")
    assert tab.is_same


def wait_for_all(page: Any, current: float) -> None:
    """Wait until all three bars stand there."""
    bars = page.locator(f"progress[value='{current}']")
    wait_until(lambda: bars.count() == 3, what=f"all that show it at {current}")


SLOW = """
const later = window.setTimeout, planned = [];
window.setTimeout = (use, time, ...given) =>
    window.isSlow && time === 50 ? planned.push(use) : later(use, time, ...given);
window.goOn = () => {
    window.isSlow = false;
    planned.splice(0).forEach((use) => use());
};
"""
"""Has the script see nothing of what the page shows, while ``window.isSlow``, until ``window.goOn()``."""
LISTEN = """() => {
    window.told = [];
    for (const name of ["live", "poke"]) window.source.addEventListener(name, () => window.told.push(name));
}"""


def test_fault_67_nothing_may_be_kept(site: Site, ann: User) -> None:
    process = Process.objects.start("Importing", owner=ann)
    poll = reverse("django_progress:process-wait-fragment", args=[process.key])
    address = reverse("django_progress:process-page-stream")
    with client_of(ann, base_url=site.url, timeout=20) as client:
        with client.stream("GET", address, params={"poll": poll}) as answer:
            kept(answer)
        kept(client.get(process.get_wait_url()))
        kept(client.get(address))


def kept(answer: httpx.Response) -> None:
    assert {"private", "no-store"} <= set(re.split(", *", answer.headers["Cache-Control"]))
    assert "Cookie" in answer.headers["Vary"]
