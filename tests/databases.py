"""Which database the tests use: how the programs that they start are told, and how to change it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

from tests.private import MariaDB, Postgres

# What tests/settings.py reads, by the key of DATABASES that it sets.
_NAMES = {
    "postgres": {"HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER", "PASSWORD": "PGPASSWORD"},
    "mariadb": {"HOST": "MYSQL_HOST", "PORT": "MYSQL_TCP_PORT", "USER": "MYSQL_USER", "PASSWORD": "MYSQL_PWD"},
}


def environ() -> dict[str, str]:
    """Return the part of a program's environment that leads it to the database used here."""
    entry = connection.settings_dict
    return {
        "DJANGO_PROGRESS_TEST_DB": settings.DATABASE,
        "DJANGO_PROGRESS_TEST_DB_NAME": str(entry["NAME"]),
        **{name: str(entry[key]) for key, name in _NAMES.get(settings.DATABASE, {}).items()},
    }


@contextmanager
def use_database(server: Postgres | MariaDB) -> Iterator[None]:
    """Make Django use a server of tests/private.py, with empty tables, in this process and in workers.

    Needs ``django_db(transaction=True)``. Connections that other threads have open stay where they are.
    """
    # Threads make their connections from this very dictionary.
    entry = connection.settings_dict
    ours = {**server.settings, "NAME": settings.RUN}
    before = {key: entry[key] for key in ours}
    server.query(f"CREATE DATABASE {settings.RUN}")
    connections.close_all()
    entry.update(ours)
    try:
        call_command("migrate", verbosity=0)
        yield
    finally:
        connections.close_all()
        entry.update(before)
