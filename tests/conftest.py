"""What any test may use: services that may be missing, a browser, brokers for real workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from django_progress import history
from tests import services, workers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def pytest_configure() -> None:
    services.required()  # says at once if a name is misspelt


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Once playwright's synchronous API has started, this thread has a running event loop to the
    # end of the session, and async_to_sync() and asyncio.run() refuse to work in it.
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in services.NAMES:
        if item.get_closest_marker(name):
            services.require(name)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium for the whole session."""
    services.require("browser")
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Django takes that event loop for asynchronous code and would refuse every query.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        chromium = playwright.chromium.launch(executable_path=services.find_chromium(), args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page with cookies of its own; takes what playwright's ``new_context()`` takes."""
    contexts = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """An empty page of a visitor nobody knows."""
    return new_page()


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[workers.Broker]:
    """A real broker that this process publishes to.

    The filesystem one, or another by ``@pytest.mark.parametrize("broker", workers.BROKERS, indirect=True)``.
    """
    with workers.open_broker(getattr(request, "param", "filesystem"), tmp_path) as broker:
        yield broker


@pytest.fixture(autouse=True)
def no_habits() -> None:
    """Let no test know how long the processes of another one took."""
    history.forget()
