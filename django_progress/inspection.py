"""What ``progress_doctor`` finds in Celery's settings and at its broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from celery import current_app
from django.apps import apps
from django.db import DatabaseError, router
from django.db.models import Max

from . import publishing
from .conf import settings
from .doctor import Finding, Level
from .models import Process

__all__ = ["examine"]

PATIENCE = 2.0
"""Seconds in which the broker must answer."""
UNSAFE = {"pickle", "yaml", "application/x-python-serialize", "application/x-yaml", "*"}
JSON = {"json", "application/json"}


def examine(using: str | None = None) -> Iterator[Finding]:
    """Yield what there is to say about Celery as this process knows it."""
    app: Any = current_app._get_current_object()
    yield from _mode(app)
    yield from _serializers(app)
    yield from _results(app)
    try:
        publishing.connect(app).transport.driver_type  # noqa: B018
    except Exception as error:
        fix = "Look at broker_url, and install what its transport needs: celery[redis], for example."
        yield Finding(Level.ERROR, "broker", f"Its transport can't be loaded: {error!r}", fix)
        return
    yield from _broker(app)
    yield from _redelivery(app, using or router.db_for_write(Process))


def _mode(app: Any) -> Iterator[Finding]:
    if app.main in (None, "default", "__main__") and not app.conf.broker_url:
        text = "This process knows no Celery app of yours, so that it publishes to a broker on localhost."
        fix = "Import your celery.py when Django starts, in the __init__.py beside it or in an AppConfig.ready()."
        yield Finding(Level.ERROR, "Celery", text, fix)
    if app.conf.task_always_eager:
        text = "task_always_eager is on: tasks run inside the request that starts them, to their end."
        yield Finding(Level.WARNING, "Celery", text, "Turn it off outside tests.")


def _serializers(app: Any) -> Iterator[Finding]:
    accepted = set(app.conf.accept_content or ())
    results = set(app.conf.result_accept_content or ())
    if not accepted & JSON:
        text = f"accept_content is {sorted(accepted)}: workers refuse the messages of processes, which are JSON."
        yield Finding(Level.ERROR, "serializers", text, 'Set accept_content to ["json"].')
    elif accepted & UNSAFE:
        text = f"accept_content is {sorted(accepted)}: whoever reaches the broker can make workers run what he likes."
        yield Finding(Level.ERROR, "serializers", text, 'Set accept_content to ["json"].')
    elif results & UNSAFE:
        text = f"result_accept_content is {sorted(results)}: whoever reaches the results can make us run what he likes."
        yield Finding(Level.ERROR, "serializers", text, 'Set result_accept_content to ["json"], or leave it out.')
    elif app.conf.result_serializer not in JSON:
        text = f"result_serializer is {app.conf.result_serializer!r}; what our tasks leave to Celery is JSON."
        yield Finding(Level.WARNING, "serializers", text, 'Set result_serializer to "json".')
    elif app.conf.task_serializer not in JSON:
        text = f"task_serializer is {app.conf.task_serializer!r}; the messages of processes are JSON all the same."
        yield Finding(Level.WARNING, "serializers", text, 'Set task_serializer to "json".')
    else:
        yield Finding(Level.OK, "serializers", "JSON only.")


def _results(app: Any) -> Iterator[Finding]:
    backend = str(app.conf.result_backend or "disabled").partition(":")[0]
    if backend.startswith("django_celery_results."):
        backend = "django-db"
    if backend == "django-db" and not apps.is_installed("django_celery_results"):
        text = "result_backend is django-db, and django_celery_results is not in INSTALLED_APPS."
        yield Finding(Level.ERROR, "results", text, 'INSTALLED_APPS += ["django_celery_results"]')
    elif backend == "disabled":
        text = "Celery keeps no results. Processes don't need them; the admin can't show them beside the attempts."
        yield Finding(Level.INFO, "results", text, 'Set result_backend to "django-db".')
    elif backend != "django-db":
        text = f"Celery keeps results in {backend}, where the admin doesn't see them."
        yield Finding(Level.INFO, "results", text, 'Set result_backend to "django-db" to see them beside the attempts.')
    elif not app.conf.result_extended:
        text = "Celery keeps results in the database, without the task's name and worker."
        yield Finding(Level.INFO, "results", text, "Set result_extended to True.")
    else:
        yield Finding(Level.OK, "results", "Celery keeps them in the database, with names and workers.")


def _broker(app: Any) -> Iterator[Finding]:
    connection = publishing.connect(app)
    address, driver = connection.as_uri(), connection.transport.driver_type
    if reason := _unreachable(connection):
        fix = "Until it answers, processes that are started stay pending; then the sweep publishes them."
        yield Finding(Level.ERROR, "broker", f"{address}: {reason}", f"Start it, or look at broker_url. {fix}")
    elif driver == "memory":
        text = "In memory: messages don't leave this process, and no worker elsewhere sees them."
        yield Finding(Level.WARNING, "broker", text, "Set broker_url, to Redis or RabbitMQ for example.")
    elif driver == "filesystem":
        text = "The filesystem, which serves the workers of one machine only."
        yield Finding(Level.INFO, "broker", text, "Use Redis or RabbitMQ in production.")
    else:
        yield Finding(Level.OK, "broker", f"{address} answers.")


def _unreachable(connection: Any) -> str:
    """Return why the broker can't be reached, "" if it can. Its own limits hold for each step; this one for all."""
    reason = [f"did not answer within {PATIENCE:g} s"]

    def connect() -> None:
        try:
            _ = connection.default_channel
            reason[0] = ""
        except Exception as error:
            reason[0] = str(error) or repr(error)
        finally:
            connection.release()

    thread = threading.Thread(target=connect, name="django_progress doctor", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return reason[0]


def _redelivery(app: Any, using: str) -> Iterator[Finding]:
    connection = publishing.connect(app)
    if connection.transport.driver_type != "redis":
        return
    default = connection.transport.Channel.visibility_timeout
    timeout = (app.conf.broker_transport_options or {}).get("visibility_timeout", default)
    try:
        longest = Process.objects.using(using).active().aggregate(longest=Max("lease"))["longest"] or 0.0
    except DatabaseError:
        longest = 0.0
    text = (
        f"A message not acknowledged within {timeout:,g} s (visibility_timeout) comes again; while its execution lives "
        f"it is turned away. What a worker loses is found by its lease, within {max(longest, settings.LEASE):,g} s."
    )
    yield Finding(Level.INFO, "broker", text)
