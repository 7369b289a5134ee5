"""Which workers there are, as the database knows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_progress import presence
from django_progress.clock import DatabaseNow, read
from django_progress.models import Worker
from django_progress.retention import prune

pytestmark = pytest.mark.django_db


def test_a_worker_is_noted_and_forgotten() -> None:
    presence.note("a@host", ["mail", "bulk"])
    worker = Worker.objects.get()
    assert (worker.name, worker.queues, worker.swept_at) == ("a@host", ["bulk", "mail"], None)
    assert worker.listens_to("mail")
    assert not worker.listens_to("other")
    assert abs(worker.clock_offset) < 5
    assert abs(worker.seen_at - read("default")) < timedelta(seconds=5)
    presence.note("a@host", ["mail"], swept=True)
    presence.note("a@host", ["mail"])
    worker = Worker.objects.get()
    assert worker.queues == ["mail"]
    assert worker.swept_at is not None
    presence.forget("a@host")
    assert not Worker.objects.exists()


def test_alive_is_who_was_seen_within_three_beats(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"HEARTBEAT": 10}
    presence.note("a@host")
    presence.note("b@host")
    Worker.objects.filter(name="a@host").update(seen_at=DatabaseNow(-31))
    Worker.objects.filter(name="b@host").update(seen_at=DatabaseNow(-29))
    assert [worker.name for worker in Worker.objects.alive()] == ["b@host"]


def test_a_worker_that_was_lost_is_forgotten_after_a_day() -> None:
    presence.note("a@host")
    presence.note("b@host")
    Worker.objects.filter(name="a@host").update(seen_at=DatabaseNow(-presence.KEPT - 1))
    prune()
    assert [worker.name for worker in Worker.objects.all()] == ["b@host"]
