"""What every fault goes through: a breaker that nothing has opened yet, and the checker when all is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_progress import engines
from django_progress.tasks import CeleryEngine
from tests.faults.journal import Journal
from tests.invariants import check_invariants
from tests.unit.conftest import engine

__all__ = ["engine"]

QUICK = {"LEASE": 1.2, "HEARTBEAT": 0.2, "SWEEP_INTERVAL": 0.1}
"""So that what is lost is found at once. A message that was sent is not sent again: that takes its minute."""


@pytest.fixture(autouse=True)
def invariants_hold(db: None) -> Iterator[None]:
    """Check all that a test leaves behind, before the database forgets it."""
    yield
    check_invariants()


@pytest.fixture(autouse=True)
def celery_engine() -> Iterator[None]:
    """Publish as a program does that has just started."""
    before = engines.get_engine()
    engines.register(CeleryEngine())
    yield
    engines.register(before)


@pytest.fixture
def agree(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change the app's settings, here and in the programs that the test starts from then on."""

    def agree(**chosen: float) -> None:
        given = {**QUICK, **chosen}
        settings.DJANGO_PROGRESS = given
        monkeypatch.setenv("DJANGO_PROGRESS_TEST_SETTINGS", json.dumps(given))

    return agree


@pytest.fixture
def quick(agree: Callable[..., None]) -> None:
    """Have the app's settings as in ``QUICK``, here and in the workers."""
    agree()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Where the bodies of tests/faults/tasks.py note what they did."""
    return Journal(tmp_path / "journal")
