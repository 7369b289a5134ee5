"""How live regions ask again: when, and with what to compare."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language

from .. import __version__

__all__ = ["copy_number", "digest", "element_id", "is_poll", "is_restored", "trigger"]


def is_poll(request: HttpRequest) -> bool:
    """Return whether a live region asks what has changed."""
    return "dp-shown" in request.GET


def copy_number(query: Mapping[str, str]) -> int:
    """Return the how-manieth of its kind in its page a live region says it is."""
    given = query.get("dp-copy", "")
    return int(given) if re.fullmatch("[1-9][0-9]{0,3}", given) else 1


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


def element_id(mode: str, key: object, copy: int = 1) -> str:
    """Return the id of the element in which one process is shown in one way."""
    return f"dp-{mode}-{key}" + (f"-{copy}" if copy > 1 else "")


def digest(parts: Sequence[Any]) -> str:
    """Return a short token for what is shown."""
    shown = [__version__, get_language(), timezone.get_current_timezone_name(), *parts]
    return hashlib.sha256(json.dumps(shown, default=str).encode()).hexdigest()[:16]
