"""Break everything while processes run, and see whether anything is lost.

    python -m benchmarks.chaos postgres --processes 1000 --kills 50 --restarts 5 --terminated 20 --seed 1

Starts a database server and a broker of its own (Redis for PostgreSQL, RabbitMQ for MariaDB, files for SQLite), real
workers with prefork pools, and hundreds of processes of all sorts. Meanwhile workers and their children are killed and
frozen past their leases, the broker is restarted and emptied, and database connections are terminated. When all is over
it looks at what the database holds and at what the bodies noted. Exits with an error if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.chaos.plan import QUICK, Dose
from benchmarks.databases import scratch_database


def main() -> int:
    """Run it, print what was done and found, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("vendor", nargs="?", default="postgres", choices=("postgres", "sqlite", "mariadb"))
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=5, help="of the broker, which is emptied as often")
    parser.add_argument("--terminated", type=int, default=20, help="connections to the database")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="the rows, notes and logs, even if nothing is wrong")
    asked = parser.parse_args()
    # So that being told to end also ends and removes what was started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    with everything(asked.vendor) as there:
        from benchmarks.chaos.run import run

        dose = Dose(asked.processes, asked.kills, asked.restarts, asked.terminated)
        report = run(dose, seed=asked.seed, **there)
    print(f"{asked.vendor}: {report}")
    if report.wrong or asked.keep:
        print(f"The rows, the bodies' notes and the workers' logs are in {there['folder']}.")
    else:
        shutil.rmtree(there["folder"])
    return 1 if report.wrong else 0


@contextmanager
def everything(vendor: str) -> Iterator[dict[str, Any]]:
    """Have all servers up, and Django using them."""
    os.environ["DJANGO_PROGRESS_TEST_DB"] = vendor
    os.environ["DJANGO_PROGRESS_TEST_SETTINGS"] = json.dumps(QUICK)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from tests import private
    from tests.server import HOST

    folder = Path(mkdtemp(prefix="django_progress_chaos_"))
    with ExitStack() as stack:
        database: Any = None
        if vendor == "postgres":
            database = stack.enter_context(private.private_postgres())
            os.environ |= {"PGHOST": HOST, "PGPORT": str(database.port), "PGUSER": "postgres"}
        elif vendor == "mariadb":
            database = stack.enter_context(private.private_mariadb())
            os.environ |= {"MYSQL_HOST": HOST, "MYSQL_TCP_PORT": str(database.port), "MYSQL_USER": "root"}
        stack.enter_context(scratch_database(vendor))
        from tests.workers import open_broker, open_private_broker

        server: Any = None
        if vendor == "sqlite":
            broker = stack.enter_context(open_broker("filesystem", folder))
        else:
            server = stack.enter_context(
                private.private_redis() if vendor == "postgres" else private.private_rabbitmq()
            )
            broker = stack.enter_context(open_private_broker(server))
        yield {"folder": folder, "broker": broker, "broker_server": server, "database": database}


if __name__ == "__main__":
    sys.exit(main())
