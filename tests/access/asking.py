"""How the addresses are found and asked, and what a refusal must look like.

The addresses come from the URL configuration. ``PLACED`` says what sort each one is, and
``ARGUMENTS`` what each sort takes; an address that is missing there fails a test.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from django_progress import urls
from django_progress.models import Process, ShareLink

from .people import TITLE

__all__ = [
    "ANSWERED", "ARGUMENTS", "HTMX", "JSON", "PLACED", "READING", "ask", "check_missing", "check_refusal", "is_login",
    "routes", "rows_of", "state", "told", "url_of", "walk", "without",
]  # fmt: skip

PLACED = {
    "process-list": "list",
    "process-list-fragment": "list",
    "process-detail": "page",
    "process-wait": "page",
    "process-wait-fragment": "page",
    "process-status-fragment": "page",
    "process-status": "json",
    "process-result": "json",
    "process-events": "json",
    "process-stream": "json",
    "process-cancel": "verb",
    "process-retry": "verb",
    "process-rerun": "verb",
    "process-rerun-plan": "plan",
    "process-openapi": "open",
    "process-page-stream": "open",
    "process-shared": "link",
    "process-shared-fragment": "link",
}
ARGUMENTS: dict[str, dict[str, str]] = {
    "list": {},
    "page": {"key": "UUID"},
    "json": {"key": "UUID"},
    "verb": {"key": "UUID"},
    "plan": {"key": "UUID"},
    "link": {"token": "String"},
    "open": {},
}

ANSWERED = {"process-stream": 406}
"""What else than 200 is answered to the tests' client, to whom streams can't be sent, of what may be seen."""

HTMX = {"HX-Request": "true"}
JSON = {"Accept": "application/json"}
READING: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("GET", "", HTMX),
    ("GET", "?dp-shown=x&dp-for=1", HTMX),
    ("GET", "", JSON),
    ("GET", "", {**HTMX, "HX-History-Restore-Request": "true"}),
    ("GET", "", {**HTMX, "HX-Boosted": "true"}),
]
"""The ways of asking for what is only read."""


def walk(patterns: list[Any] | None = None) -> Iterator[URLPattern]:
    """Yield every address of the app, those of an ``include()`` too."""
    for pattern in urls.urlpatterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns)
        else:
            yield pattern


def routes(sort: str) -> list[str]:
    """Return the names of the addresses of one sort."""
    names = [pattern.name for pattern in walk() if pattern.name and PLACED.get(pattern.name) == sort]
    assert names
    return names


def url_of(name: str, process: Process | None = None, *, token: str = "") -> str:
    """Return an address with its arguments filled in."""
    known = {"key": process and process.key, "token": token}
    takes = ARGUMENTS[PLACED[name]]
    return reverse(f"django_progress:{name}", kwargs={argument: known[argument] for argument in takes})


def rows_of(table: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a table whose cells stand two or more spaces apart."""
    head, *rows = (re.split(r"\s{2,}", line.strip()) for line in table.strip().splitlines())
    assert all(len(row) == len(head) for row in rows)
    return head, rows


def ask(client: Client, method: str, url: str, headers: dict[str, str]) -> Any:
    return client.generic(method, url, headers=headers)


def told(response: Any) -> str:
    """Return all that an answer tells, but for the time of the day."""
    body = re.sub(rb'data-revision="\d+"', b"", response.content)
    headers = sorted((name, value) for name, value in response.headers.items() if name != "Content-Length")
    return repr([response.status_code, headers, response.cookies.output(), body])


@contextmanager
def without(process: Process) -> Iterator[None]:
    """Be in a world that is the same, but for that process."""
    with transaction.atomic():
        Process.objects.filter(pk=process.pk).delete()
        yield
        transaction.set_rollback(True)


def check_missing(client: Client, process: Process, method: str, url: str, headers: dict[str, str]) -> Any:
    """Ask, and see that the same is answered where that process isn't there."""
    response = ask(client, method, url, headers)
    with without(process):
        assert told(response) == told(ask(client, method, url, headers)), (method, url, headers)
    assert TITLE.encode() not in response.content
    return response


def check_refusal(client: Client, process: Process, method: str, url: str, headers: dict[str, str]) -> Any:
    """Ask for what may not be seen, and compare with a key that nobody has had, too."""
    response = check_missing(client, process, method, url, headers)
    key, other = str(process.key), str(uuid.uuid4())
    never = ask(client, method, url.replace(key, other), headers)
    assert told(response) == told(never).replace(other, key), (method, url, headers)
    assert response["Cache-Control"] == "private, no-store"
    return response


def is_login(response: Any, headers: dict[str, str]) -> bool:
    """Return whether it leads to the login page, and says nothing else."""
    by_htmx = "HX-Request" in headers and not {"HX-Boosted", "HX-History-Restore-Request"} & set(headers)
    led = response.get("HX-Redirect" if by_htmx else "Location", "")
    return (
        response.status_code in ((200,) if by_htmx else (302, 303))
        and response.content == b""
        and led.startswith("/accounts/login/?next=/")
    )


def state(process: Process) -> Any:
    """Return what a verb would change."""
    rows = Process.objects.filter(pk=process.pk).values_list("status", "revision", "retries")
    return list(rows), ShareLink.objects.count()
