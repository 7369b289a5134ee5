"""The tests' site, which knows programs by a token too, and says so whenever an answer begins to wait."""

import os
import sys

from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.api.tokens.TokenMiddleware"]
application = get_asgi_application()

from django_progress.views import longpoll  # isort: skip  # noqa: E402

__all__ = ["application"]

wait = longpoll._wait


async def wait_aloud(pk: int, seq: int, seconds: float) -> None:
    sys.stdout.write("An answer waits.\n")
    sys.stdout.flush()
    await wait(pk, seq, seconds)


longpoll._wait = wait_aloud
