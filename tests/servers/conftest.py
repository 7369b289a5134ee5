"""The example project under real servers, as processes of their own, with a database in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.urls import resolve

from example_project import demo_user
from example_project.demo.browser import Browser
from tests.server import HOST, launch, refused_port
from tests.workers import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
UVICORN = ["-m", "uvicorn", "example_project.asgi:application", "--host", HOST, "--port", "{port}"]
GUNICORN = ["-m", "gunicorn", "--bind", f"{HOST}:{{port}}", "--workers", "1"]
COMMANDS = {
    "uvicorn": UVICORN,
    "gunicorn": [*GUNICORN, "example_project.wsgi"],
    "gunicorn with uvicorn": [*GUNICORN, "-k", "uvicorn.workers.UvicornWorker", "example_project.asgi:application"],
    "runserver": ["manage.py", "runserver", "--noreload", f"{HOST}:{{port}}"],
}


@dataclass
class Site:
    """A server that serves the example project."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    browser: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.browser = Browser(self.url)

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/login/", timeout=10) as response:
            return bool(response.status == 200)
        return False

    def log_in(self) -> None:
        """Log in as the demo's user."""
        page = self.browser.get("/login/")
        assert self.browser.submit(page, {"username": demo_user.USERNAME, "password": demo_user.PASSWORD}).location

    def start(self) -> str:
        """Start a process, which stays pending since there is no worker; return its key."""
        started = self.browser.submit(self.browser.get("/import/"), {"source": "all"})
        assert started.status == 303, started.text
        return str(resolve(started.location).kwargs["key"])

    def cancel(self, key: str) -> None:
        """Cancel it, by the form of its page."""
        page = self.browser.get(f"/progress/{key}/wait/")
        answer = self.browser.submit(page, {})
        assert answer.status in (200, 303), answer.text

    @property
    def cookies(self) -> dict[str, str]:
        """What it has given its visitor."""
        return {cookie.name: str(cookie.value) for cookie in self.browser.cookies}

    def end(self, number: signal.Signals = signal.SIGTERM, *, within: float) -> int:
        """Ask the server to end, and return the code with which it does so."""
        self.process.send_signal(number)
        return self.process.wait(within)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's database."""
    folder = tmp_path_factory.mktemp("servers")
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environ(folder), check=True)
    return folder


@contextmanager
def run(name: str, data_dir: Path) -> Iterator[Site]:
    """Run a server for the length of the block."""
    port = refused_port()
    log = data_dir / f"{port}.log"
    command = [part.format(port=port) for part in COMMANDS[name]]
    with log.open("wb") as file:
        process = launch([sys.executable, *command], cwd=ROOT, env=environ(data_dir), log=file)
    try:
        site = Site(f"http://{HOST}:{port}", process, log)
        wait_until(site.is_up, timeout=60, what=name)
        site.log_in()
        yield site
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[Site]:
    """The server that the test names as its parameter."""
    with run(request.param, data_dir) as site:
        yield site


@pytest.fixture
def uvicorn(data_dir: Path) -> Iterator[Site]:
    """A server for one test, which may end it."""
    with run("uvicorn", data_dir) as site:
        yield site


def environ(data_dir: Path) -> dict[str, str]:
    """Return the environment of the example project; nothing of the tests' own settings is in it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "EXAMPLE_"))}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "EXAMPLE_DATA_DIR": str(data_dir),
        "EXAMPLE_DEMO": "1",
        "PYTHONUNBUFFERED": "1",
    }
