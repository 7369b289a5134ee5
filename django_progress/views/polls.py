"""How live regions ask again: when, and with what to compare."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language

from .. import __version__

__all__ = ["digest", "is_poll", "is_restored", "trigger"]


def is_poll(request: HttpRequest) -> bool:
    """Return whether a live region asks what has changed."""
    return "dp-shown" in request.GET


def is_restored(request: HttpRequest) -> bool:
    """Return whether htmx fetches a page for the back button, for which a piece won't do."""
    return request.headers.get("HX-History-Restore-Request") == "true"


def trigger(interval: float) -> str:
    """Return the ``hx-trigger`` that polls about every ``interval`` seconds, or when the page is looked at again.

    The jitter keeps pages that were loaded together from asking together. Whole
    milliseconds, because htmx 4 takes the point in "2.1s" for something else.
    """
    least = int(interval * 1000)
    return f"every {least + secrets.randbelow(least // 5 + 1)}ms, dp:poke"


def digest(parts: Sequence[Any]) -> str:
    """Return a short token for what is shown."""
    shown = [__version__, get_language(), timezone.get_current_timezone_name(), *parts]
    return hashlib.sha256(json.dumps(shown, default=str).encode()).hexdigest()[:16]
