"""Processes of every sort, and people who may do this and that with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from django_progress.claiming import claim
from django_progress.models import Event, Process

TASK: Any = SimpleNamespace(name="tests.admin.work", declared={}, options={}, check_arguments=lambda args, kwargs: None)
"""A task as far as starting goes; nothing executes it here, for nothing is ever committed."""


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("olga", password="olga")


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Log somebody in who may enter the admin and has these permissions on processes."""

    def log_in(*actions: str, app_label: str = "django_progress", model: str = "process") -> Client:
        user = User.objects.create_user(f"staff-{User.objects.count()}", password="staff", is_staff=True)
        user.user_permissions.set(
            Permission.objects.get(content_type__app_label=app_label, codename=f"{action}_{model}")
            for action in actions
        )
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def viewer(staff: Callable[..., Client]) -> Client:
    """Staff that may look only."""
    return staff("view")


@pytest.fixture
def changer(staff: Callable[..., Client]) -> Client:
    """Staff that may use the verbs too."""
    return staff("view", "change")


@pytest.fixture
def pending(owner: User) -> Process:
    return Process.objects.start("Waits for a worker", owner=owner, task=TASK, kind="report", max_attempts=50)


@pytest.fixture
def running(owner: User) -> Process:
    """One that a task executes."""
    process = Process.objects.start("Runs in a task", owner=owner, task=TASK, kind="import", total=200, unit="rows")
    assert claim(str(process.key), task_id=process.task_id, worker="celery@here")
    process.refresh_from_db()
    return process


@pytest.fixture
def manual(db: None) -> Process:
    """One without a task or an owner."""
    return Process.objects.start("Is moved from outside")


@pytest.fixture
def finished(owner: User) -> Process:
    process = Process.objects.start("Has finished", owner=owner, context={"upload": 3})
    process.succeed({"rows": 28_000})
    return process


@pytest.fixture
def failed(owner: User) -> Process:
    process = Process.objects.start("Has failed", owner=owner, task=TASK)
    process.fail(ValueError("/srv/secret"))
    return process


@pytest.fixture
def overdue(owner: User) -> Process:
    """One whose deadline has passed without anybody storing that."""
    process = Process.objects.start("Is past its deadline", owner=owner, max_duration=60)
    past = timezone.now() - timedelta(minutes=5)
    Process.objects.filter(pk=process.pk).update(created_at=past, expires_at=past + timedelta(minutes=1))
    process.refresh_from_db()
    return process


def add_events(process: Process, number: int) -> None:
    """Log so many lines at once."""
    first = process.last_seq + 1
    Event.objects.bulk_create(
        Event(process=process, seq=seq, type="log", message=f"line {seq}", happened_at=timezone.now())
        for seq in range(first, first + number)
    )
    Process.objects.filter(pk=process.pk).update(last_seq=process.last_seq + number)
    process.refresh_from_db()
