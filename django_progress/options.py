"""What a task may declare about its processes, and a start may override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from . import addresses, values

__all__ = ["MESSAGE_OPTIONS", "OPTIONS", "STARTED_WITH", "URLS", "check_options"]

URLS = ("redirect_url", "success_url", "failure_url", "expired_url", "cancelled_url")

OPTIONS = (
    "description", "kind", "max_duration", "max_attempts", "retry_delay", "attempt_timeout", "lease", "total", "unit",
    "keep_finished",
    *URLS,
)  # fmt: skip
LEADING_ON = 60.0
"""Seconds that every process is kept after its end, so that the pages that wait for it lead on."""
STARTED_WITH = {"context", "idempotency_key", "details"}
"""What belongs to one start."""
MESSAGE_OPTIONS = {"queue", "priority", "routing_key", "exchange"}
"""What Celery is told with each message."""


def check_options(
    chosen: Mapping[str, Any], *, request: HttpRequest | None = None, details: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the columns for what was chosen of ``OPTIONS``, checked."""
    params = None if details is None else values.json_object(details, "details")
    description, description_params = values.translatable(chosen.get("description"), "description", params)
    fields: dict[str, Any] = {
        "description": description,
        "description_params": description_params,
        "kind": values.kind(chosen.get("kind", "")),
        "max_attempts": values.count(chosen.get("max_attempts", 1), "max_attempts", least=1),
        "retry_delay": values.duration(chosen.get("retry_delay", 0), "retry_delay"),
        "unit": values.text(chosen.get("unit"), "unit", limit=32),
    }
    for name in ("max_duration", "attempt_timeout", "lease"):
        value = chosen.get(name)
        fields[name] = None if value is None else values.positive_duration(value, name)
    kept = chosen.get("keep_finished")
    fields["keep_finished"] = None if kept is None else max(LEADING_ON, values.duration(kept, "keep_finished"))
    total = chosen.get("total")
    fields["total"] = fields["initial_total"] = None if total is None else values.number(total, "total")
    for name in URLS:
        fields[name] = addresses.stored_url(chosen.get(name), name, request)
    return fields
