"""An engine that only notes what it is asked to publish, so that these tests need no Celery."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from django_progress import engines


class FakeEngine:
    """Publishes to a list; ``works`` says whether it does."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.works = True
        self._ids = count(1)

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        if self.works:
            self.published.append(task_id)
        return self.works

    def is_eager(self) -> bool:
        return False

    def new_task_id(self) -> str:
        return f"task-{next(self._ids)}"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    before = engines.get_engine()
    fake = FakeEngine()
    engines.register(fake)
    yield fake
    engines.register(before)
