"""Bringing a message to Celery's broker, without ever making a request wait for a broken one."""

from __future__ import annotations

import logging
import time
import uuid
from contextvars import ContextVar
from typing import Any

from celery import current_app
from django.db import router
from kombu.exceptions import OperationalError

from .conf import settings
from .models import Process
from .status import Status

__all__ = ["CeleryEngine"]

logger = logging.getLogger("django_progress")

PAUSE = 5.0
"""Seconds for which a broker that failed is not asked again."""

_inline: ContextVar[frozenset[str]] = ContextVar("django_progress_inline", default=frozenset())


class CeleryEngine:
    """Celery, as far as publishing goes."""

    def __init__(self) -> None:
        self._closed_until = 0.0

    def new_task_id(self) -> str:
        """Return an id for one execution."""
        return str(uuid.uuid4())

    def is_eager(self) -> bool:
        """Say whether Celery executes tasks at once."""
        return bool(current_app.conf.task_always_eager)

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        """Send the message that lets a worker claim a process; return whether it was sent.

        Waits ``PUBLISH_TIMEOUT`` for each step at most, and not at all for a while after
        a failure: the sweep publishes what was not.
        """
        if self.is_eager():
            return self._execute_inline(task_name, task_id, key)
        if time.monotonic() < self._closed_until:
            return False
        app: Any = current_app._get_current_object()
        try:
            with app.connection_for_write(
                connect_timeout=settings.PUBLISH_TIMEOUT, transport_options=_bounded(app)
            ) as connection:
                sending: dict[str, Any] = {
                    **options, "task_id": task_id, "connection": connection, "retry": False, "serializer": "json",
                }  # fmt: skip
                task = app.tasks.get(task_name)
                if task is not None:
                    task.apply_async((key,), **sending)
                else:
                    app.send_task(task_name, (key,), **sending)
        except _outages(app) as error:
            self._closed_until = time.monotonic() + PAUSE
            logger.warning(
                "Process %s could not be published, it stays pending until the broker answers again: %r", key, error
            )
            return False
        except Exception:
            # This message's own fault (a queue that isn't there, say), and no reason to keep others back.
            logger.exception("Process %s can't be published; it stays pending.", key)
            return False
        return True

    def _execute_inline(self, task_name: str, task_id: str, key: str) -> bool:
        """Execute a process to its end in this thread, hand-overs and attempts included."""
        running = _inline.get()
        if key in running:
            return True  # The loop below goes on with it.
        before = _inline.set(running | {key})
        try:
            while True:
                current_app.tasks[task_name].apply((key,), task_id=task_id, throw=False)
                row = Process.objects.using(router.db_for_write(Process)).filter(key=key).first()
                if row is None or row.status != Status.PENDING or row.task_id == task_id:
                    return True
                task_id = row.task_id
        finally:
            _inline.reset(before)


def _outages(app: Any) -> tuple[type[BaseException], ...]:
    """Return what the transport raises when it has lost the broker."""
    return (OSError, OperationalError, *app.connection_for_write().connection_errors)


def _bounded(app: Any) -> dict[str, Any]:
    """Return the transport's options with every wait bounded, in the transport's own words."""
    seconds = settings.PUBLISH_TIMEOUT
    configured = dict(app.conf.broker_transport_options or {})
    url = app.conf.broker_write_url or app.conf.broker_url or ""
    scheme = str(url[0] if isinstance(url, (list, tuple)) and url else url).partition(":")[0]
    if scheme in ("redis", "rediss", "sentinel"):
        return configured | {
            "socket_connect_timeout": seconds, "socket_timeout": seconds, "max_retries": 0, "retry_on_timeout": False,
        }  # fmt: skip
    if scheme in ("amqp", "amqps", "pyamqp", "py-amqp"):
        return configured | {"max_retries": 0, "read_timeout": seconds, "write_timeout": seconds}
    return configured
