"""A short chaos run: everything is broken at once while processes of all sorts run, and nothing is lost.

``python -m benchmarks.chaos`` does the same for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from benchmarks.chaos.plan import QUICK, Dose
from benchmarks.chaos.run import run
from tests.databases import use_database
from tests.private import private_mariadb, private_postgres, private_rabbitmq, private_redis
from tests.workers import open_broker, open_private_broker

pytestmark = [pytest.mark.worker, pytest.mark.django_db(transaction=True)]

DOSE = Dose(processes=60, kills=4, restarts=1, terminated=3)
SEED = 8


@pytest.fixture
def everything(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Have servers that may be broken, as many as this database and its broker have."""
    with ExitStack() as stack:
        there: dict[str, Any] = {"database": None, "broker_server": None}
        if settings.DATABASE == "sqlite":
            there["broker"] = stack.enter_context(open_broker("filesystem", tmp_path))
        else:
            database, broker = {
                "postgres": (private_postgres, private_redis),
                "mariadb": (private_mariadb, private_rabbitmq),
            }[settings.DATABASE]
            there["database"] = stack.enter_context(database())
            there["broker_server"] = stack.enter_context(broker())
            stack.enter_context(use_database(there["database"]))
            there["broker"] = stack.enter_context(open_private_broker(there["broker_server"]))
        yield there


def test_nothing_is_lost_when_everything_breaks(
    everything: dict[str, Any], tmp_path: Path, agree: Callable[..., None]
) -> None:
    agree(**QUICK)
    report = run(DOSE, seed=SEED, folder=tmp_path, **everything)
    assert not report.wrong, str(report)
    # What could be done was done, and what was killed in the middle of something went on.
    possible = {
        what
        for what in DOSE.violence
        if everything["database"] or what not in ("restart_broker", "terminate_connection")
    }
    assert {what: report.done[what] for what in possible} == {what: DOSE.violence[what] for what in possible}
    assert len(report.recoveries) >= DOSE.kills
