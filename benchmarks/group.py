"""What thousands of parallel tasks cost: ``python -m benchmarks.group [sqlite|postgres|mariadb] [--parts 10000]``.

One poll of a workflow with 10 to 10,000 parallel parts stands beside celery-progress's poll of a group as large, and a
workflow of 10,000 parts on a real worker beside Celery's own group of as many tasks. Exits with an error if our poll
grows with the number of parts, or if the workflow doesn't end as it should.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.databases import scratch_database

if TYPE_CHECKING:
    from benchmarks.many.executing import Taken

SIZES = (10, 100, 1_000, 10_000)
FLAT = 1.2
"""How many times as long a poll of the largest may take as one of the smallest."""


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.group", description=__doc__.splitlines()[0])
    parser.add_argument("vendor", nargs="?", default="sqlite", choices=("sqlite", "postgres", "mariadb"))
    parser.add_argument("--parts", type=int, default=10_000, help="of the workflow that is executed")
    parser.add_argument("--only", choices=("polls", "execution"))
    parser.add_argument("--results", nargs="+", choices=("kept", "ignored"), default=["kept", "ignored"])
    asked = parser.parse_args()
    # So that being told to end also ends and removes what was started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    wrong: list[str] = []
    with scratch_database(asked.vendor, "benchmarks.many.settings"):
        if asked.only != "execution":
            wrong += polls(asked.vendor)
        if asked.only != "polls":
            wrong += execution(asked.vendor, asked.parts, asked.results)
    print("\n".join(wrong))
    return 1 if wrong else 0


def polls(vendor: str) -> list[str]:
    """Print what a poll costs for each size; return what is wrong with that."""
    from benchmarks.many import polling
    from tests.services import REDIS_URL

    with polling.nothing_sent(), polling.peers({"Redis": REDIS_URL, "django-db": "django-db"}) as sites:
        client, user = polling.client_of("somebody")
        ours = {size: polling.Poller(client, polling.started(size, user)) for size in SIZES}
        for page in ours.values():
            page.look()
        kinds = {
            "nothing changed (204)": {size: page.unchanged for size, page in ours.items()},
            "something changed (HTML)": {size: page.changed for size, page in ours.items()},
            "status (JSON)": {size: page.status for size, page in ours.items()},
        }
        flat = list(kinds)
        kinds |= {
            f"celery-progress, {name}": {
                size: polling.poll_of(client, site, polling.saved_group(site, size)) for size in SIZES
            }
            for name, site in sites.items()
        }
        times = polling.measured(kinds)
    print(f"One poll of so many parallel tasks on {vendor}, ms; medians, and the highest beside that of {SIZES[0]}")
    print(f"  {'':28}" + "".join(f"{size:>10,}" for size in SIZES))
    for kind, by_size in times.items():
        cells = "".join(f"{median(by_size[size]):10.2f}" for size in SIZES)
        print(f"  {kind:28}{cells}   {polling.growth(by_size):7.2f} ×", flush=True)
    return [
        f"A poll, {kind}, grows by {polling.growth(times[kind]):.2f} ×."
        for kind in flat
        if polling.growth(times[kind]) > FLAT
    ]


def execution(vendor: str, parts: int, kept: list[str]) -> list[str]:
    """Print what a parallel step costs beside a task of Celery's; return what is wrong."""
    from benchmarks.many import executing
    from django_progress.invariants import find_violations
    from tests.workers import open_broker

    wrong: list[str] = []
    print(f"{parts:,} parallel steps that do nothing on {vendor}; a worker with {executing.POOL} processes, by Redis")
    with TemporaryDirectory() as folder, open_broker("redis", Path(folder)) as broker:
        for how in kept:
            results = how == "kept"
            with executing.worker(broker, results=results) as running:
                theirs = executing.celery_group(parts, running, results=results)
                ours, process = executing.workflow(parts, running)
            process.refresh_from_db()
            if (process.status, process.percent) != ("succeeded", 100) or process.result != list(range(parts)):
                wrong.append(f"The workflow is {process.status}, {process.percent} %: {process.result!s:.100}")
            print(f"  Celery's results {how}")
            print(f"    Celery's group {_described(theirs, parts)}; sent after {theirs.planned:.1f} s")
            print(f"    the workflow   {_described(ours, parts)}; planned after {ours.planned:.1f} s")
            more, busy = ours.total - theirs.total, ours.busy - theirs.busy
            print(
                f"    overhead of a step {more / parts * 1000:.1f} ms, {busy / parts * 1000:.1f} ms of the worker's CPU"
            )
            sys.stdout.flush()
        wrong += [str(violation) for violation in find_violations(settled=True)][:20]
    return wrong


def _described(taken: Taken, parts: int) -> str:
    return f"{taken.total:7.1f} s, {parts / taken.total:6.1f} a second, {taken.busy:6.1f} s of the worker's CPU"


if __name__ == "__main__":
    sys.exit(main())
