"""Going through one example as a visitor does: log in if need be, start it, wait for it, look at the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.management import CommandError
from django.urls import resolve, reverse

from example_project import demo_user

from .browser import Browser

__all__ = ["VISITS", "Visit"]

BETWEEN_POLLS = 0.25
Status = Mapping[str, Any]


@dataclass(frozen=True)
class Visit:
    """An example to go through, and what is to come of it."""

    page: str
    values: Mapping[str, str]
    ends: str
    """The status in which it must end."""
    summary: Callable[[Status], str]
    logs_in: bool = True

    def make(self, site: str, report: Callable[[Status], None], timeout: float) -> tuple[str, str]:
        """Make the visit, reporting each status; return the summary and the address of the result.

        Raises ``CommandError`` with the reason if it doesn't go as it should.
        """
        browser = Browser(site)
        try:
            page = self._log_in(browser) if self.logs_in else browser.get(reverse(self.page))
            started = browser.submit(page, self.values)
            if started.status != 303:
                raise CommandError(f"{started.url} answered {started.status} instead of leading to the wait page.")
            key = str(resolve(started.location).kwargs["key"])
            browser.get(started.location)
            status = self._wait(browser, key, report, timeout)
            if status["status"] != self.ends:
                error = status["error"] or {"message": "", "reference": ""}
                why = " ".join(filter(None, (error["message"], error["reference"])))
                raise CommandError(f"It {status['status']}, where it should have {self.ends}. {why}")
            return self.summary(status), self._leave(browser, key)
        except (LookupError, OSError) as error:
            raise CommandError(f"The visit was cut short: {error}") from error

    def _log_in(self, browser: Browser) -> Any:
        """Ask for the page, which leads to the login page and from there back."""
        login = browser.get(reverse(self.page))
        page = browser.submit(login, {"username": demo_user.USERNAME, "password": demo_user.PASSWORD})
        if not page.location:
            raise CommandError("The demo's user can't log in.")
        return browser.get(page.location)

    def _wait(self, browser: Browser, key: str, report: Callable[[Status], None], timeout: float) -> Status:
        """Poll the status until the process has ended."""
        url = reverse("django_progress:process-status", args=[key])
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            status: Status = browser.get(url).json()
            report(status)
            if status["done"]:
                return status
            time.sleep(BETWEEN_POLLS)
        raise CommandError(f"It has not ended within {timeout:g} s.")

    def _leave(self, browser: Browser, key: str) -> str:
        """Poll as the wait page does, and go where that leads."""
        fragment = reverse("django_progress:process-wait-fragment", args=[key])
        answer = browser.open(f"{fragment}?dp-shown=", headers={"HX-Request": "true"})
        target = answer.headers.get("HX-Redirect")
        if not target:
            raise CommandError(f"The wait page's fragment leads nowhere (it answered {answer.status}).")
        return browser.get(target).url


def _imported(status: Status) -> str:
    result = status["result"]
    return f"{result['imported']:,} rows imported, {result['refused']:,} refused, in {result['seconds']} s"


def _flown(status: Status) -> str:
    journey = status["result"]["journeys"][0]
    return f"{' - '.join(stop['code'] for stop in journey['stops'])}, {journey['duration']}"


VISITS = {
    "import": Visit("gallery:import", {"source": "all"}, "succeeded", _imported),
    "steps": Visit("gallery:steps", {"source": "all"}, "succeeded", _imported),
    "flights": Visit("gallery:flights", {"origin": "OSL", "destination": "LIM"}, "succeeded", _flown, logs_in=False),
    "reattempts": Visit(
        "gallery:reattempts",
        {"ready_after": "3", "retry_delay": "1"},
        "succeeded",
        lambda status: f"answered at attempt {status['attempt']['number']} of at most {status['attempt']['max']}",
    ),
    "expiry": Visit("gallery:expiry", {}, "expired", lambda status: "expired, as it was meant to"),
}
