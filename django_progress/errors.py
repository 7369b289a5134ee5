"""The one way from an exception to what people read about it."""

from __future__ import annotations

import secrets
import traceback
from typing import NamedTuple

from django.utils.functional import Promise

from . import values

__all__ = ["Failure", "describe"]

MAX_DETAIL = 20_000
# Without the letters and digits that are mistaken for one another when read aloud.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"

GENERIC = "Something went wrong on our side."


class Failure(NamedTuple):
    """What is told about a failure, and to whom."""

    public: str
    """For anybody who sees the process."""
    reference: str
    """Links the two: shown to people, written to the log, searched for by staff."""
    detail: str
    """For staff only: the traceback."""


def describe(error: BaseException | str | Promise) -> Failure:
    """Return what to tell about ``error``.

    Words are meant for people and shown as they are. An exception may hold paths, SQL or
    secrets: people get a plain sentence and a reference, staff get the traceback.
    """
    if not isinstance(error, BaseException):
        return Failure(values.text(error, "error", required=True), "", "")
    reference = "".join(secrets.choice(ALPHABET) for _ in range(8))
    return Failure(GENERIC, reference, _traceback(error))


def _traceback(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(error, chain=_depth(error) < 50))
    except Exception:
        lines = f"{type(error).__module__}.{type(error).__qualname__} (its traceback can't be formatted)"
    if len(lines) > MAX_DETAIL:
        half = MAX_DETAIL // 2
        lines = f"{lines[:half]}\n{values.ELLIPSIS}\n{lines[-half:]}"
    return values.clean(lines)


def _depth(error: BaseException) -> int:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return len(seen)
