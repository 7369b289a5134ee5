"""What an item of ``track()`` costs: ``python -m benchmarks.track [sqlite|postgres|mariadb]``, beside tqdm."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from benchmarks.databases import compare, scratch_database

ITEMS = 1_000_000


def main(vendor: str) -> bool:
    """Measure, print, and say whether an item costs at most twice what tqdm's does."""
    with scratch_database(vendor), open(os.devnull, "w") as nowhere:
        from tqdm import tqdm

        from django_progress.models import Process

        process = Process.objects.start("Measuring")

        def loop(items: Iterable[int]) -> None:
            for _item in items:
                pass

        medians = compare(
            f"An item on {vendor}, ns",
            {
                "track()": lambda: loop(process.track(range(ITEMS), total=ITEMS)),
                "tqdm": lambda: loop(tqdm(range(ITEMS), total=ITEMS, file=nowhere)),
                "the bare loop": lambda: loop(range(ITEMS)),
            },
            number=1,
            unit=1e9 / ITEMS,
        )
    return medians["track()"] <= 2 * medians["tqdm"]


if __name__ == "__main__":
    sys.exit(0 if main(*(sys.argv[1:2] or ["sqlite"])) else "An item costs more than twice tqdm's.")
