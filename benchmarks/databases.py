"""A scratch database to measure on, and how measurements are taken and printed."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["compare", "scratch_database"]

ROUNDS = 7


@contextmanager
def scratch_database(vendor: str, settings: str = "tests.settings") -> Iterator[None]:
    """Set Django up on an empty database of ``vendor`` (sqlite, postgres or mariadb) and remove it afterwards."""
    os.environ["DJANGO_PROGRESS_TEST_DB"] = vendor
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    import django

    django.setup()
    from django.test.utils import setup_databases, teardown_databases

    created = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        teardown_databases(created, verbosity=0)


def compare(
    title: str, contenders: dict[str, Callable[[], object]], *, number: int, unit: float = 1e6
) -> dict[str, float]:
    """Time each contender in turns, so that a noisy machine is noisy for all; print and return the medians.

    Times are for one of ``number`` calls, in 1/``unit`` seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for _round in range(ROUNDS):
        for name, call in contenders.items():
            begin = time.perf_counter()
            for _number in range(number):
                call()
            times[name].append((time.perf_counter() - begin) / number * unit)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = next(iter(medians.values()))
    print(title)
    for name, median in medians.items():
        ratio = "" if name == next(iter(medians)) else f"   ours is {ours / median:.2f} times that"
        print(f"  {name:42} {median:10.1f}{ratio}")
    sys.stdout.flush()
    return medians
