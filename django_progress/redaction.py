"""What is stored whole and shown in part: the values of keys that sound like secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .conf import settings

__all__ = ["HIDDEN", "is_secret", "redacted", "redacted_list"]

HIDDEN = "********"


def is_secret(key: object) -> bool:
    """Say whether ``key`` contains one of ``REDACTED_KEYS``, however it is spelled (``apiKey``, ``API-KEY``)."""
    name = _plain(str(key))
    return any(_plain(part) in name for part in settings.REDACTED_KEYS)


def redacted(value: Any) -> Any:
    """Return a copy of a JSON value without its secrets."""
    if isinstance(value, dict):
        return {key: HIDDEN if is_secret(key) else redacted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def redacted_list(values: Sequence[Any], names: Sequence[str] | None) -> list[Any]:
    """Return a list of arguments without those whose parameters' ``names`` sound like secrets.

    The last name stands for all that follow it (``*args``). None hides all of them: the
    task isn't known here, so that nobody can tell.
    """
    if names is None:
        return [HIDDEN for _ in values]
    known = [*names, *[names[-1] if names else ""] * len(values)]
    return [HIDDEN if is_secret(name) else redacted(value) for name, value in zip(known, values, strict=False)]


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
