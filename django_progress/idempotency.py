"""Within what an idempotency key is unique, and what it stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["hashed", "scope_of"]


def scope_of(fields: Mapping[str, Any]) -> str:
    """Return within what an idempotency key is unique: an account, else a visitor, else nothing."""
    if fields["owner_id"] is not None:
        return f"owner {fields['owner_id']}"
    return f"visitor {fields['visitor']}" if fields["visitor"] else ""


def hashed(value: Any) -> str:
    """Return what is stored of a key or of what was asked: neither a collation nor its length matters then."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
