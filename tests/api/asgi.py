"""A site of somebody who has done what docs/api.md says, with a worker beside it."""

from celery.contrib.testing.worker import start_worker
from django.conf import settings
from django.core.asgi import get_asgi_application

from tests.celery import app  # which names the settings

settings.ROOT_URLCONF = "tests.api.urls"
application = get_asgi_application()
worker = start_worker(app, perform_ping_check=False, pool="threads", loglevel="WARNING")
worker.__enter__()
