"""The site by ASGI, where pages are kept up to date by a stream: ``uvicorn example_project.asgi:application``."""

from __future__ import annotations

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler

__all__ = ["application"]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application: ASGIHandler = get_asgi_application()
if settings.DEBUG:
    # What runserver does by itself.
    application = ASGIStaticFilesHandler(application)
