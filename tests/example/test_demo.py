from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from django.core.management import CommandError
from django.urls import resolve, reverse

from example_project import demo_user
from example_project.demo import services
from example_project.demo.browser import Browser, Page
from example_project.demo.drawing import Drawing, describe
from tests.server import heed_interrupts

ROOT = Path(__file__).resolve().parent.parent.parent
STATUS = {
    "status": "running",
    "done": False,
    "progress": {"percent": 50.0, "current": 14_200, "total": 28_400, "unit": "rows"},
    "attempt": {"number": 1, "max": 1},
}


def demo(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--data-dir", str(data_dir), *arguments],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "example_project.settings", "EXAMPLE_DATA_DIR": str(data_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_interrupts,
    )


def left_behind(data_dir: Path) -> list[str]:
    """Return the commands of the processes that were started for ``data_dir`` and still run (Linux only)."""
    wanted = f"EXAMPLE_DATA_DIR={data_dir}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass
    return found


def open_stream(site: str) -> Any:
    """Start a process as the demo's user, and return the open answer of its stream."""
    browser = Browser(site.rstrip("/"))
    page = browser.submit(browser.get("/login/"), {"username": demo_user.USERNAME, "password": demo_user.PASSWORD})
    assert page.location
    started = browser.submit(browser.get("/import/"), {"source": "all"})
    key = resolve(started.location).kwargs["key"]
    address = reverse("django_progress:process-stream", args=[key])
    return browser.opener.open(urljoin(site, address), timeout=30)


@pytest.mark.worker
@pytest.mark.parametrize("name", ["import", "steps", "flights", "reattempts"])
def test_example_goes_through_server_broker_worker_and_database(tmp_path: Path, name: str) -> None:
    process = demo(tmp_path, "--run", name)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert f"{name}: " in output
    assert left_behind(tmp_path) == []


@pytest.mark.worker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_stops_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    process = demo(tmp_path)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C stops" in line:
            break
    assert any("The gallery is at http://127.0.0.1:" in line for line in lines), "".join(lines)
    assert len(left_behind(tmp_path)) >= 4  # demo, server, worker and its children
    site = next(word for line in lines for word in line.split() if word.startswith("http://"))
    with open_stream(site) as stream:
        # It is served by ASGI, and somebody who looks doesn't keep it from ending.
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.readline().startswith(b"retry: ")
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert left_behind(tmp_path) == []


@pytest.mark.worker
def test_visit_that_fails_says_why(tmp_path: Path) -> None:
    process = demo(tmp_path, "--run", "expiry", "--timeout", "1")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "It has not ended within 1 s." in output
    assert left_behind(tmp_path) == []


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.socket() as listener:
        listener.bind((services.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_port_that_is_taken(taken: int) -> None:
    with pytest.raises(CommandError, match=f"Port {taken} is in use"):
        services.choose_port(taken)
    assert services.choose_port(taken, 0) not in (0, taken)


def test_service_that_ends_shows_its_log(tmp_path: Path, site: None) -> None:
    service = services.Service("thing", ["nothing_of_that_name"], dict(os.environ), tmp_path / "log")
    with pytest.raises(CommandError, match=r"(?s)The thing has ended with code 1.*No module named"):
        service.wait_until(lambda: False)


def test_service_that_never_gets_ready(tmp_path: Path, site: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "STARTING", 0.3)
    service = services.Service("thing", ["http.server", "0"], dict(os.environ), tmp_path / "log")
    with pytest.raises(CommandError, match="not ready after"):
        service.wait_until(lambda: False)
    services._stop([service], 5)
    assert service.process.returncode is not None


def test_progress_is_drawn_as_a_bar() -> None:
    assert describe(STATUS) == f"[{'#' * 15}{'-' * 15}]   50 %  14,200 of 28,400 rows  running"
    unknown = {**STATUS, "progress": {"percent": None}, "attempt": {"number": 3, "max": 50}}
    assert describe(unknown) == "attempt 3  running"
    share = {**STATUS, "progress": {"percent": 50.0, "current": 50, "total": 100, "unit": "%"}}
    assert describe(share) == f"[{'#' * 15}{'-' * 15}]   50 %  running"


def test_progress_goes_line_by_line_into_a_file() -> None:
    stream = io.StringIO()
    drawing = Drawing(stream)
    drawing.show(STATUS)
    drawing.show({**STATUS, "progress": {**STATUS["progress"], "current": 14_300}})
    drawing.show({**STATUS, "status": "succeeded", "done": True})
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["running", "succeeded"]


def test_progress_is_drawn_over_in_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    drawing = Drawing(stream)
    drawing.show(STATUS)
    drawing.show({**STATUS, "status": "ok", "done": True})
    assert stream.getvalue().count("\r") == 2
    assert stream.getvalue().endswith("ok     \n")


def test_browser_finds_the_form_that_is_meant() -> None:
    page = Page(
        "http://site/page/",
        200,
        None,  # type: ignore[arg-type]
        '<form method="post"><input name="logout"></form><main><form method="post" action="/a/">'
        '<input type="hidden" name="source" value="own"></form><form method="post">'
        '<input type="hidden" name="token" value="1"><input type="hidden" name="source" value="all">'
        '<input type="checkbox" name="no"><input type="checkbox" name="yes" value="on" checked></form></main>',
    )
    form = page.form({"source": "all"})
    assert form.action == "http://site/page/"
    assert form.values == {"token": "1", "source": "all", "yes": "on"}
    assert page.form({}).action == "http://site/a/"
    with pytest.raises(LookupError, match="no form with name"):
        page.form({"name": "x"})
