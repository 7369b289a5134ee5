from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_progress.models import Process
from django_progress.tasks import progress_task

HTMX = {"HX-Request": "true"}


@progress_task(description="Import airports", kind="import", name="tests.web.imports")
def imports(process: Process) -> None: ...


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada", password="secret")


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("eve", password="secret")


@pytest.fixture
def staff(db: None) -> User:
    """Somebody who may see every process, and change none."""
    staff = User.objects.create_user("staff", password="secret", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_process"))
    return staff


@pytest.fixture
def mine(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def theirs(other: User) -> Client:
    client = Client()
    client.force_login(other)
    return client


@pytest.fixture
def process(user: User) -> Process:
    """A process without a task, which is running."""
    return Process.objects.start("Import airports", owner=user)


@pytest.fixture
def start(user: User) -> Callable[..., Process]:
    """Start a process of the user's; what ``start()`` doesn't take is written into its row."""

    def start(description: str = "Import airports", **options: Any) -> Process:
        row = {name: options.pop(name) for name in list(options) if name in ROW}
        started = Process.objects.start(description, **{"owner": user, **options})
        if age := row.pop("age", None):
            row["created_at"] = timezone.now() - timezone.timedelta(seconds=age)
        if "quiet" in row:
            row["updated_at"] = timezone.now() - timezone.timedelta(seconds=row.pop("quiet"))
        if "expires_in" in row:
            row["expires_at"] = timezone.now() + timezone.timedelta(seconds=row.pop("expires_in"))
        if row:
            Process.objects.filter(pk=started.pk).update(**row)
            started.refresh_from_db()
        return started

    return start


ROW = {
    "age", "expires_in", "status", "current", "rate", "samples", "attempt_number", "attempt_token", "next_attempt_at",
    "success_url", "expires_at", "result", "milestone_name", "revision", "queue", "quiet",
}  # fmt: skip


def url(name: str, process: Process | None = None, query: str = "") -> str:
    return reverse(f"django_progress:process-{name}", args=[process.key] if process else []) + query
