"""Clocks that are wrong: a program's own, and the database's, which a test sets to any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_progress import clock, writes

SHIFTED = '''
"""Python imports this when it starts: from then on what it takes for the time is wrong."""

import datetime
import time

real = datetime.datetime
true_time = time.time
time.time = lambda: true_time() + {seconds}


class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, real)


class Shifted(real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) + datetime.timedelta(seconds={seconds})

    @classmethod
    def utcnow(cls):
        return real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds={seconds})


Shifted.__name__ = Shifted.__qualname__ = "datetime"
Shifted.__module__ = "datetime"
datetime.datetime = Shifted
'''


def shifted(folder: Path, seconds: float) -> dict[str, str]:
    """Return the environment of a Python program whose clock is wrong by so much."""
    (folder / "sitecustomize.py").write_text(SHIFTED.format(seconds=seconds))
    return {"PYTHONPATH": str(folder)}


SPELLED: dict[str, tuple[str, str]] = {
    "postgresql": (
        "TIMESTAMPTZ '{0}+00'",
        "(TIMESTAMPTZ '{0}+00' + %s * interval '1 second')",
    ),
    "mysql": ("TIMESTAMP('{0}')", "(TIMESTAMP('{0}') + INTERVAL %s MICROSECOND)"),
    "sqlite": (
        "strftime('%%Y-%%m-%%d %%H:%%M:%%f', '{0}')",
        "strftime('%%Y-%%m-%%d %%H:%%M:%%f', '{0}', %s)",
    ),
}


@contextmanager
def database_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[datetime], None]]:
    """Yield what sets the database's clock, which then stands still."""

    def set_to(moment: datetime) -> None:
        text = moment.strftime("%Y-%m-%d %H:%M:%S")
        *_, adapt = spelled[connection.vendor]
        now, later = (part.replace("{0}", text) for part in SPELLED[connection.vendor])
        monkeypatch.setitem(clock._SPELLED, connection.vendor, (now, later, adapt))
        writes._statements.cache_clear()

    spelled: dict[str, Any] = dict(clock._SPELLED)
    try:
        yield set_to
    finally:
        monkeypatch.setitem(clock._SPELLED, connection.vendor, spelled[connection.vendor])
        writes._statements.cache_clear()
