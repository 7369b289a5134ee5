"""The site that is measured, by ASGI: the package's own addresses, and the gauges."""

from __future__ import annotations

import re
from typing import Any

from django.core.asgi import get_asgi_application
from django.db.backends.signals import connection_created

from benchmarks.push.gauges import queries, with_gauges

application = with_gauges(get_asgi_application())

from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402

from django_progress.models import Event, Process  # noqa: E402

SUBJECTS = {
    Event._meta.db_table: "events",
    Process._meta.db_table: "processes",
    Session._meta.db_table: "permits",
    get_user_model()._meta.db_table: "permits",
}
PERMISSION = re.compile(r"SELECT ((1|%s) AS |[^,]+, [^,]+owner_id[^,]+, [^,]+visitor[^,]+ FROM )")


def _count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    # Whether one may see a process is asked of its table, too.
    tables = (subject for table, subject in SUBJECTS.items() if f"FROM {_quoted(table)}" in sql)
    subject = "permits" if PERMISSION.match(sql) else next(tables, "others")
    queries[subject] += 1
    return execute(sql, params, many, context)


def _quoted(table: str) -> str:
    mark = "`" if settings.DATABASE == "mariadb" else '"'
    return f"{mark}{table}{mark}"


def _watch(connection: Any, **kwargs: Any) -> None:
    if _count not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count)


connection_created.connect(_watch)
