"""Every page of the app, the example project and the admin of processes, by the URL configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from django_progress.models import Attempt, AuditEntry, Event, Process, Step

__all__ = ["addresses"]


def routes(patterns: Any = None, spaces: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Go through the example's URL configuration: every name, with what its address takes; of the admin, only ours."""
    for pattern in get_resolver("example_project.urls").url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            inner = (*spaces, pattern.namespace) if pattern.namespace else spaces
            yield from routes(pattern.url_patterns, inner)
        elif isinstance(pattern, URLPattern) and ("admin" not in spaces or is_ours(pattern.name)):
            assert pattern.name, f"{pattern} has no name"
            yield ":".join((*spaces, pattern.name)), tuple(pattern.pattern.converters)


def is_ours(name: str | None) -> bool:
    return bool(name and name.startswith("django_progress_"))


def addresses(processes: list[Process], links: list[str], *, but: str = "-") -> list[str]:
    """Return every address that answers Ann with a page or with JSON; no route of pages may be missing."""
    client = Client()
    client.force_login(User.objects.get(username="ann"))
    found: dict[str, list[str]] = {}
    for name, takes in routes():
        if name.startswith(but) or name in STREAMS:
            continue
        made = found.setdefault(name, [])
        for values in fillings(name, takes, processes, links):
            address = reverse(name, args=values)
            answer = client.get(address)
            kind = answer.get("Content-Type", "")
            if answer.status_code == 200 and ("text/html" in kind or kind == "application/json"):
                made.append(address)
    missing = {name for name, made in found.items() if not made}
    assert missing <= NO_PAGE, f"No page was found for {sorted(missing - NO_PAGE)}."
    return [address for made in found.values() for address in made]


def fillings(name: str, takes: tuple[str, ...], processes: list[Process], links: list[str]) -> list[list[Any]]:
    if not takes:
        return [[]]
    assert len(takes) == 1, f"{name} takes {takes}"
    if takes == ("object_id",):
        model = name.removeprefix("admin:django_progress_").split("_")[0]
        models: dict[str, Any] = {"event": Event, "attempt": Attempt, "auditentry": AuditEntry, "step": Step}
        rows = models[model].objects.all()[:20] if model in models else processes
        return [[row.pk] for row in rows]
    if takes == ("token",):
        return [[link.rstrip("/").rpartition("/")[2]] for link in links]
    assert takes == ("key",), f"{name} takes {takes}: say here what that is"
    return [[process.key] for process in processes]


STREAMS = {"django_progress:process-stream", "django_progress:process-page-stream"}
"""They hold no page, and can't be asked from a thread with an event loop, as Chromium's driver has."""
NO_PAGE = {
    *(f"django_progress:process-{name}" for name in ("cancel", "retry", "rerun")),
    *(
        f"admin:django_progress_process_{name}"
        for name in ("add", "cancel", "expire", "retry", "rerun_failed", "revoke")
    ),
    *(
        f"admin:django_progress_{model}_{name}"
        for model in ("event", "attempt", "auditentry", "step")
        for name in ("add", "delete")
    ),
    *("gallery:share", "gallery:refused-rows", "gallery:steps-refused-rows", "gallery:endpoint", "logout"),
}
"""What is posted to, refused or downloaded. The link that gallery:share makes is looked at by itself."""
