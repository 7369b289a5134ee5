"""Tabs of a real browser, on a site that a real uvicorn serves, for tests of what a stream brings; import the fixtures.

Changes made in a test wake the server by Redis; its pages poll too seldom for anything to be seen by that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.models import Process
from tests import services
from tests.push.serving import Site, serve
from tests.workers import wait_until

__all__ = [
    "APPLICATION", "CATCH", "NOTE", "OFTEN", "POKE", "SELDOM", "Tab", "ann", "bar", "new_tab", "report", "site", "tab",
    "wait_for", "wake_ups",
]  # fmt: skip

APPLICATION = "tests.browser.asgi:application"
SELDOM = (60.0, 60.0, 60.0)
"""Polls that come too late for any test."""
OFTEN = (0.3, 0.3, 0.3)

HELD = """() => {
    const live = document.querySelector("[data-dp-live][hx-get]");
    const interval = live && window.djangoProgress ? window.djangoProgress.interval(live) : 0;
    return interval >= 1000 && interval < Infinity;
}"""
HIDE = """(isHidden) => {
    Object.defineProperty(document, "hidden", { get: () => isHidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
NOTE = """() => {
    window.shown = [];
    new MutationObserver(() => {
        const bar = document.querySelector("progress");
        const now = performance.timeOrigin + performance.now();
        if (bar && !window.shown.some(([value]) => value === bar.getAttribute("value")))
            window.shown.push([bar.getAttribute("value"), now]);
    }).observe(document.body, { childList: true, subtree: true });
}"""
"""Has the page note in ``window.shown`` when its first bar stood where."""
CATCH = """
const Source = window.EventSource;
window.EventSource = class extends Source {
    constructor(...given) {
        super(...given);
        window.source = this;
    }
};
"""
"""Has the page hold its stream in ``window.source``."""
POKE = "window.djangoProgress.poke(window.djangoProgress.polled())"


class Tab:
    """A page that is open as Ann, with what its browser asks for and complains about."""

    def __init__(self, page: Any, site: Site, user: User) -> None:
        self.page, self.url = page, site.url
        self.complaints: list[str] = []
        self.asked: list[tuple[float, str]] = []
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("console", self._note)
        page.on("request", lambda request: self.asked.append((time.monotonic(), request.url)))
        client = Client()
        client.force_login(user)
        session = client.cookies["sessionid"].value
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": self.url}])

    def _note(self, message: Any) -> None:
        # That a server is away is what some tests are about.
        if message.type == "error" and "ERR_" not in message.text and "favicon" not in message.location["url"]:
            self.complaints.append(message.text)

    def open(self, address: str) -> Any:
        """Open an address, in a page that can be told from one that was loaded again."""
        self.page.goto(self.url + address)
        self.page.evaluate("window.isSame = true")
        return self.page

    def is_streaming(self) -> bool:
        """Return whether the stream is heard: then polls are held back."""
        return bool(self.page.evaluate(HELD))

    def wait_for_stream(self) -> None:
        wait_until(self.is_streaming, what="the stream")

    def hide(self, is_hidden: bool = True) -> None:
        """Have the page believe that nobody looks at it, or that somebody does again."""
        self.page.evaluate(HIDE, is_hidden)

    @property
    def is_same(self) -> bool:
        """Whether it is still the page that was opened."""
        return bool(self.page.evaluate("window.isSame"))

    @property
    def streams(self) -> list[str]:
        """The streams that it has asked for."""
        return [url for _moment, url in self.asked if "/stream/" in url]

    @property
    def polls(self) -> list[str]:
        """The polls that it has sent."""
        return [url for _moment, url in self.asked if "/fragment" in url]


def bar(page: Any) -> float | None:
    """Return where the first bar stands."""
    shown = page.locator("progress").first.get_attribute("value")
    return None if shown is None else float(shown)


def wait_for(page: Any, current: float) -> None:
    """Wait until the first bar stands there."""
    wait_until(lambda: bar(page) == current, what=f"the bar at {current}")


def report(process: Process, current: float) -> None:
    """Report it at once: a new instance gathers nothing."""
    Process.objects.get(pk=process.pk).set_progress(current)


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann", password="ann")


@pytest.fixture
def wake_ups(settings: Any) -> dict[str, Any]:
    """Have changes made here wake the server, and its pages poll too seldom."""
    settings.DJANGO_PROGRESS = {"WAKE_UPS": services.REDIS_URL, "POLL_INTERVALS": SELDOM}
    return dict(settings.DJANGO_PROGRESS)


@pytest.fixture
def site(wake_ups: dict[str, Any], transactional_db: None) -> Iterator[Site]:
    with serve(APPLICATION) as site:
        yield site


@pytest.fixture
def new_tab(new_page: Callable[..., Any], ann: User) -> Callable[..., Tab]:
    """Open a tab of a browser of its own, or of ``context``'s."""

    def open_tab(site: Site, context: Any = None, **options: Any) -> Tab:
        return Tab(context.new_page() if context else new_page(**options), site, ann)

    return open_tab


@pytest.fixture
def tab(new_tab: Callable[..., Tab], site: Site) -> Tab:
    return new_tab(site)
