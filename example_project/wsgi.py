"""The site by WSGI, where pages poll: ``gunicorn example_project.wsgi``."""

from __future__ import annotations

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

__all__ = ["application"]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application: WSGIHandler = get_wsgi_application()
if settings.DEBUG:
    # What runserver does by itself.
    application = StaticFilesHandler(application)
