"""The same site, compressing whatever it sends."""

from __future__ import annotations

import os

from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]

from tests.browser.asgi import application  # noqa: E402

__all__ = ["application"]
