"""What ``progress_doctor`` finds in a project's set-up: Django, the database, the workers.

What has to be asked of Celery is in ``inspection.py``. Each finding says what is the
matter and what to do; what is fine says so too, so that one sees what was looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from django.conf import settings as django_settings
from django.core.checks import ERROR, WARNING, run_checks
from django.db import DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Max

from . import clock
from .conf import settings
from .models import Process, Worker
from .status import Status

__all__ = ["Finding", "Level", "examine"]

SKEW = 2.0
"""Seconds by which a clock may be off without a word."""
PATIENT = 10.0
"""Seconds that whoever writes to SQLite should be ready to wait for its turn."""
SWEPT_WITHIN = 60.0
"""Seconds, beside ten intervals, within which somebody should have swept."""
BY_CRON = 900.0
"""The same where no worker sweeps."""
HTMX = "django_htmx.middleware.HtmxMiddleware"


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    about: str
    text: str
    fix: str = ""


def examine(using: str | None = None) -> Iterator[Finding]:
    """Yield what there is to say about the settings, a database, and the workers that are known to it."""
    using = using or router.db_for_write(Process)
    yield from _settings()
    yield from _htmx()
    yield from _persistence(connections[using])
    try:
        yield from _database(connections[using])
        missing = _unapplied(using)
        if missing:
            fix = "manage.py migrate django_progress" + ("" if using == "default" else f" --database {using}")
            yield Finding(Level.ERROR, "migrations", f"Not applied: {', '.join(missing)}.", fix)
            return
        yield Finding(Level.OK, "migrations", "All are applied.")
        yield from _clock(using)
        yield from _workers(using)
        yield from _sweep(using)
    except DatabaseError as error:
        yield Finding(
            Level.ERROR, "database", f"{using!r} can't be asked: {error}", "Look at DATABASES, and whether it runs."
        )


def _settings() -> Iterator[Finding]:
    found = [message for message in run_checks(tags=["django_progress"]) if not message.is_silenced()]
    for message in found:
        level = Level.ERROR if message.level >= ERROR else Level.WARNING if message.level >= WARNING else Level.INFO
        yield Finding(level, "settings", message.msg, message.hint or "")
    if not found:
        yield Finding(Level.OK, "settings", f"A lease of {settings.LEASE:g} s, a beat every {settings.HEARTBEAT:g} s.")


def _htmx() -> Iterator[Finding]:
    if HTMX in django_settings.MIDDLEWARE:
        yield Finding(Level.OK, "htmx", "Its middleware is there.")
    else:
        text = "Its middleware is not in MIDDLEWARE. The fragments don't need it; your own views have no request.htmx."
        yield Finding(Level.INFO, "htmx", text, f'MIDDLEWARE += ["{HTMX}"]')


def _persistence(connection: BaseDatabaseWrapper) -> Iterator[Finding]:
    age = connection.settings_dict["CONN_MAX_AGE"]
    pooled = connection.settings_dict["OPTIONS"].get("pool")
    if getattr(django_settings, "ASGI_APPLICATION", None) and age != 0 and not pooled:
        yield Finding(
            Level.WARNING,
            "database",
            f"CONN_MAX_AGE is {age} under ASGI, where every thread would keep a connection of its own.",
            'Set CONN_MAX_AGE to 0; on PostgreSQL use OPTIONS["pool"] instead.',
        )


def _database(connection: BaseDatabaseWrapper) -> Iterator[Finding]:
    found = list(_sqlite(connection) if connection.vendor == "sqlite" else _transactions(connection))
    yield from found
    if all(finding.level == Level.INFO for finding in found):
        yield Finding(Level.OK, "database", f"{connection.display_name} is set up well.")


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[Finding]:
    mode = str(connection.settings_dict["OPTIONS"].get("transaction_mode") or "DEFERRED").upper()
    if mode == "DEFERRED":
        yield Finding(
            Level.ERROR,
            "database",
            "SQLite's transactions begin as readers: of two that go on to write, one fails at once with "
            '"database is locked".',
            'Set OPTIONS["transaction_mode"] to "IMMEDIATE".',
        )
    journal = _asked(connection, "PRAGMA journal_mode")
    if journal != "wal":
        yield Finding(
            Level.WARNING,
            "database",
            f"SQLite's journal mode is {journal}: who reads and who writes wait for each other.",
            'Set OPTIONS["init_command"] to "PRAGMA journal_mode=wal".',
        )
    seconds = int(_asked(connection, "PRAGMA busy_timeout")) / 1000
    if seconds < PATIENT:
        yield Finding(
            Level.WARNING,
            "database",
            f"Who finds SQLite locked gives up after {seconds:g} s.",
            'Set OPTIONS["timeout"] to 20.',
        )
    yield Finding(
        Level.INFO,
        "database",
        "SQLite lets one write at a time: what is reported inside atomic() is seen when that commits.",
        "Use PostgreSQL or MariaDB where it should be seen at once.",
    )


def _transactions(connection: BaseDatabaseWrapper) -> Iterator[Finding]:
    # Its name on MariaDB depends on the version.
    show = "SHOW transaction_isolation" if connection.vendor == "postgresql" else "SHOW VARIABLES LIKE 't%isolation'"
    level = _asked(connection, show).replace("-", " ").lower()
    if level not in ("read committed", "read uncommitted"):
        yield Finding(
            Level.WARNING,
            "database",
            f"Transactions run at {level.upper()}: what is reported inside atomic() is seen when that commits.",
            'Set OPTIONS["isolation_level"] to READ COMMITTED, Django\'s default.',
        )
    name, set_it = {
        "postgresql": ("idle_in_transaction_session_timeout", 'OPTIONS["options"] = "-c {name}=300000"'),
        "mysql": ("idle_write_transaction_timeout", 'OPTIONS["init_command"] = "SET SESSION {name}=300"'),
    }[connection.vendor]
    if _asked(connection, f"SHOW {name}" if connection.vendor == "postgresql" else f"SELECT @@{name}") == "0":
        yield Finding(
            Level.INFO,
            "database",
            f"{name} is 0: a machine that vanishes inside a transaction keeps its rows locked until TCP gives up.",
            f"{set_it.format(name=name)}, or as long as your transactions may pause.",
        )


def _asked(connection: BaseDatabaseWrapper, question: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return str(cursor.fetchone()[-1])


def _unapplied(using: str) -> list[str]:
    executor = MigrationExecutor(connections[using])
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == Process._meta.app_label]
    return [migration.name for migration, _ in executor.migration_plan(targets) if migration.app_label == targets[0][0]]


def _clock(using: str) -> Iterator[Finding]:
    before = datetime.now(UTC)
    then = clock.read(using)
    after = datetime.now(UTC)
    # Whatever lies between the two questions is the way there and back.
    offset = (before - then).total_seconds() if before > then else min(0.0, (after - then).total_seconds())
    skewed = [f"this process's by {offset:+.1f} s"] if abs(offset) > SKEW else []
    for worker in Worker.objects.using(using).alive():
        if abs(worker.clock_offset) > SKEW:
            skewed.append(f"{worker.name}'s by {worker.clock_offset:+.1f} s")
    if skewed:
        text = (
            f"Clocks differ from the database's: {', '.join(skewed)}. Only it decides, but logs and Celery will differ."
        )
        yield Finding(Level.WARNING, "clocks", text, "Let all machines keep time by NTP.")
    else:
        yield Finding(Level.OK, "clocks", "This process's, the workers' and the database's agree.")


def _workers(using: str) -> Iterator[Finding]:
    # What has no queues is a command that sweeps.
    workers = [worker for worker in Worker.objects.using(using).alive() if worker.queues]
    pending = Process.objects.using(using).filter(status=Status.PENDING).order_by()
    waiting: dict[str, int] = defaultdict(int)
    tasks: dict[str, list[str]] = defaultdict(list)
    for queue, task, count in pending.values_list("queue", "task_name").annotate(count=Count("pk")):
        waiting[queue] += count
        tasks[queue].append(task)
    if not workers:
        level = Level.ERROR if waiting else Level.WARNING
        text = f"None is alive, and {_counted(sum(waiting.values()))}."
        yield Finding(level, "workers", text, "celery -A YOURPROJECT worker")
        return
    names = ", ".join(f"{worker.name} ({', '.join(worker.queues)})" for worker in workers[:10])
    more = f" and {len(workers) - 10} more" if len(workers) > 10 else ""
    yield Finding(Level.OK, "workers", f"{names}{more}: alive, and {_counted(sum(waiting.values()))}.")
    for queue in sorted(waiting):
        # Where the engine couldn't tell the queue there is nothing to compare.
        if queue and not any(worker.listens_to(queue) for worker in workers):
            text = f"In the queue {queue!r}, to which none listens, {_counted(waiting[queue])}: {_few(tasks[queue])}."
            yield Finding(Level.ERROR, "workers", text, f"celery -A YOURPROJECT worker --queues {queue}")


def _counted(waiting: int) -> str:
    return f"{waiting:,} processes wait" if waiting > 1 else "one process waits" if waiting else "no process waits"


def _few(names: list[str], most: int = 5) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _sweep(using: str) -> Iterator[Finding]:
    interval = settings.SWEEP_INTERVAL
    last = Worker.objects.using(using).aggregate(last=Max("swept_at"))["last"]
    gone = None if last is None else max(0.0, (clock.read(using) - last).total_seconds())
    told = "Nobody is known to have swept" if gone is None else f"The last sweep was {gone:,.0f} s ago"
    if gone is not None and gone <= (SWEPT_WITHIN + 10 * interval if interval else BY_CRON):
        yield Finding(Level.OK, "sweep", f"{told}.")
        return
    active = Process.objects.using(using).active().exists()
    fix = "Start a worker: each one sweeps." if interval else "Run manage.py progress_sweep from cron."
    text = f"{told}: what has expired, got lost or is due again is not looked after."
    yield Finding(Level.ERROR if active else Level.WARNING, "sweep", text, fix)
