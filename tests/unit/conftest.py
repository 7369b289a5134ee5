"""An engine that only notes what it is asked to publish, so that these tests need no Celery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from django_progress import engines
from tests.celery import app


class FakeEngine:
    """Publishes to a list; ``works`` says whether it does."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.batches: list[int] = []
        self.waiting: list[tuple[str, str, str]] = []
        self.works = True
        self._ids = count(1)

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        if self.works:
            self.published.append(task_id)
            self.waiting.append((self.queue_for(task_name, options), task_id, key))
        return self.works

    @contextmanager
    def together(self) -> Iterator[None]:
        before = len(self.published)
        yield
        self.batches.append(len(self.published) - before)

    def is_eager(self) -> bool:
        return False

    def queue_for(self, task_name: str, options: dict[str, object]) -> str:
        return str(options.get("queue", "default"))

    def parameters(self, task_name: str) -> tuple[str, ...] | None:
        return ()

    def messages(self, queue: str, most: int) -> list[tuple[str, str]] | None:
        return [(task_id, key) for name, task_id, key in self.waiting if name == queue][:most]

    def new_task_id(self) -> str:
        return f"task-{next(self._ids)}"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    before = engines.get_engine()
    fake = FakeEngine()
    engines.register(fake)
    yield fake
    engines.register(before)


@pytest.fixture
def conf() -> Iterator[Any]:
    """Celery's settings, to be changed."""
    names = (
        "broker_url", "broker_transport_options", "task_always_eager", "task_serializer", "accept_content",
        "result_accept_content", "result_backend", "result_extended", "result_serializer",
    )  # fmt: skip
    before = {name: getattr(app.conf, name) for name in names}
    yield app.conf
    app.conf.update(before)
