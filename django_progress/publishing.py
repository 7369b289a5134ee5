"""Bringing a message to Celery's broker, without ever making a request wait for a broken one."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from celery import current_app
from django.db import router
from kombu.exceptions import OperationalError

from . import failpoints
from .conf import settings
from .models import Process
from .status import Status

__all__ = ["CeleryEngine", "connect", "outages"]

logger = logging.getLogger("django_progress")

PAUSE = 5.0
"""Seconds for which a broker that failed is not asked again."""

HEADER = "django_progress"
"""The header of our messages that holds the key: by it they are told from others on the same queue."""

_line: ContextVar[_Line | None] = ContextVar("django_progress_line", default=None)
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

    def queue_for(self, task_name: str, options: dict[str, object]) -> str:
        """Return the name of the queue that Celery's routes lead to."""
        try:
            route = current_app.amqp.router.route(dict(options), task_name)
            queue = route.get("queue")
            if "queue" not in options and not {"exchange", "routing_key"}.isdisjoint(options):
                # These win over the queue of the route; which queue is bound so, the broker knows.
                queue = next(filter(partial(_is_bound, options), current_app.amqp.queues.values()), "")
        except Exception:  # A route that is broken is reported when the message is sent.
            return ""
        return str(getattr(queue, "name", queue) or "")

    def parameters(self, task_name: str) -> tuple[str, ...] | None:
        """Return the names of a task's positional parameters, if this program has loaded it."""
        signature = getattr(current_app.tasks.get(task_name), "progress_signature", None)
        return None if signature is None else tuple(signature.parameters)[1:]

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        """Send the message that lets a worker claim a process; return whether it was sent.

        Waits ``PUBLISH_TIMEOUT`` for each step at most, and not at all for a while after
        a failure: the sweep publishes what was not. A message that can't be sent for its
        own sake is logged, and counts as one that nobody took.
        """
        if self.is_eager():
            return self._execute_inline(task_name, task_id, key)
        if time.monotonic() < self._closed_until:
            return False
        app: Any = current_app._get_current_object()
        try:
            with _connected(app) as connection:
                headers = {**(options.get("headers") or {}), HEADER: key}  # type: ignore[dict-item]
                sending: dict[str, Any] = {
                    **options, "headers": headers, "task_id": task_id, "connection": connection, "retry": False,
                    "serializer": "json", "add_to_parent": False,
                }  # fmt: skip
                task = app.tasks.get(task_name)
                if task is not None:
                    task.apply_async((key,), **sending)
                else:
                    app.send_task(task_name, (key,), **sending)
        except Exception as error:
            if not _is_outage(app, error):
                # This message's own fault (a queue that isn't there, say), and no reason to keep others back.
                logger.exception("Process %s can't be published; it stays pending.", key)
                return True
            self._closed_until = time.monotonic() + PAUSE
            logger.warning(
                "Process %s could not be published, it stays pending until the broker answers again: %r", key, error
            )
            return False
        failpoints.reach("publish.sent")
        return True

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send all that is published in the block on one connection, which costs as much as several messages."""
        line = _Line()
        before = _line.set(line)
        try:
            yield
        finally:
            _line.reset(before)
            line.end()

    def messages(self, queue: str, most: int) -> list[tuple[str, str]] | None:
        """Return (task id, key) of our messages among the first ``most`` that wait in a queue.

        None for a broker that shows its messages only to those who take them. Raises what
        the transport does when it can't reach the broker.
        """
        app: Any = current_app._get_current_object()
        with _used_once(connect(app)) as connection:
            read = _READERS.get(connection.transport.driver_type)
            if read is None:
                return None
            # By this property alone no second try follows, after a pause.
            channel = connection.default_channel
            headers = [message["headers"] for message in islice(read(channel, queue), most)]
        return [(str(each["id"]), str(each[HEADER])) for each in headers if HEADER in each]

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


class _Line:
    """A connection for several messages: made for the first, and anew after one that could not be sent."""

    def __init__(self) -> None:
        self._connection: Any = None

    @contextmanager
    def connection(self, app: Any) -> Iterator[Any]:
        """Have it for one message."""
        if self._connection is None:
            self._connection = connect(app)
        try:
            yield self._connection
        except BaseException:
            self._connection, failed = None, self._connection
            _hang_up(failed)
            raise

    def end(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.release()


@contextmanager
def _connected(app: Any) -> Iterator[Any]:
    """Have a connection for one message: the one of the block that it is sent in, or one of its own."""
    line = _line.get()
    with line.connection(app) if line is not None else _used_once(connect(app)) as connection:
        yield connection


def connect(app: Any) -> Any:
    """Return a connection to the broker, for one use, on which no step waits for long."""
    return app.connection_for_write(connect_timeout=settings.PUBLISH_TIMEOUT, transport_options=_bounded(app))


@contextmanager
def _used_once(connection: Any) -> Iterator[Any]:
    """Close a connection after use; without a goodbye if the broker has failed, which would not answer that either."""
    try:
        yield connection
    except BaseException:
        _hang_up(connection)
        raise
    connection.release()


def _hang_up(connection: Any) -> None:
    connection.collect(socket_timeout=0.1)


def _is_bound(options: dict[str, object], queue: Any) -> bool:
    exchange = options.get("exchange", queue.exchange.name)
    return (getattr(exchange, "name", exchange), options.get("routing_key", queue.routing_key)) == (
        queue.exchange.name,
        queue.routing_key,
    )


def _is_outage(app: Any, error: Exception) -> bool:
    try:
        return isinstance(error, outages(app))
    except Exception:
        return True  # Not even the transport can be loaded: nothing can be sent.


def outages(app: Any = None) -> tuple[type[BaseException], ...]:
    """Return what the transport raises when it has lost the broker."""
    app = app or current_app._get_current_object()
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
        # Confirmed: a broker out of memory or disk takes what it is sent, and leaves it unread.
        return configured | {
            "max_retries": 0, "read_timeout": seconds, "write_timeout": seconds, "confirm_publish": True,
        }  # fmt: skip
    return configured


# What waits in a queue, without taking it. kombu has no words for that, so this knows how its transports keep it.


def _in_redis(channel: Any, queue: str, page: int = 500) -> Iterator[dict[str, Any]]:
    with channel.conn_or_acquire() as client:
        for priority in channel.priority_steps:
            # The client puts the prefix before the names of kombu's own commands only.
            name = channel.global_keyprefix + channel._q_for_pri(queue, priority)
            first = 0
            while texts := client.lrange(name, first, first + page - 1):
                yield from map(json.loads, texts)
                first += page


def _in_files(channel: Any, queue: str) -> Iterator[dict[str, Any]]:
    for file in Path(channel.data_folder_out).iterdir():
        if file.name.partition(".")[2] == f"{queue}.msg":
            try:
                yield json.loads(file.read_bytes())
            except (FileNotFoundError, ValueError):
                continue  # A worker has just taken it, or it is not written to its end.


def _in_memory(channel: Any, queue: str) -> Iterator[dict[str, Any]]:
    return iter(list(channel.queues[queue].queue) if queue in channel.queues else ())


_READERS: dict[str, Callable[[Any, str], Iterable[dict[str, Any]]]] = {
    "redis": _in_redis,
    "filesystem": _in_files,
    "memory": _in_memory,
}
