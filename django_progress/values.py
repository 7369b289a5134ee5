"""The gate in: everything a developer or a visitor hands over is checked and bounded here.

Databases differ in what they accept (PostgreSQL refuses NUL and lone surrogates, MariaDB
refuses JSON nested deeper than 32 levels, SQLite takes anything), so nothing reaches one
before it has been made equal for all. Wrong types raise ``TypeError`` and wrong values
``ValueError``, naming the argument; text that is merely too long is cut, and ends in "…".
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy

from .conf import settings
from .status import TERMINAL

__all__ = [
    "as_json",
    "count",
    "duration",
    "event_type",
    "fitting",
    "identifier",
    "json_object",
    "kind",
    "milestone_name",
    "number",
    "positive_duration",
    "public_text",
    "summary",
    "text",
    "translatable",
]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
MAX_DEPTH = 30  # MariaDB's JSON_VALID() gives up at 32.
MAX_NUMBER = 2.0**53  # Past this a float no longer counts one by one.
MAX_DURATION = 10 * 366 * 86400
MAX_NAME = 64
RESERVED = {"started": "start()", "done": "succeed()", "failed": "fail()"}

_lines = re.compile(r"\r\n?|[\u2028\u2029]")
_unstorable = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_unstorable_in_json = re.compile(r"[\x00\ud800-\udfff]")
_slug = re.compile(r"[-a-zA-Z0-9_]+\Z")
_lazy_text = type(gettext_lazy(""))
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 300


def clean(value: str) -> str:
    """Return ``value`` as every database stores it: one kind of line end, nothing invisible."""
    return _unstorable.sub(REPLACEMENT, _lines.sub("\n", value))


def text(value: object, name: str, *, limit: int | None = None, required: bool = False) -> str:
    """Return a text that can be stored and shown, cut to ``limit`` characters (``MAX_TEXT``)."""
    limit = settings.MAX_TEXT if limit is None else limit
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} must be text, not {type(value).__name__}; decode it first.")
    if not isinstance(value, str):
        try:
            value = "" if value is None else str(value)
        except Exception as error:
            raise TypeError(f"{name} must be text, and this {type(value).__name__} can't be made into any.") from error
    result = clean(value[: limit + 1])
    if len(value) > limit:
        result = result[: limit - 1] + ELLIPSIS
    if required and not result.strip():
        raise ValueError(f"{name} must not be empty.")
    return result


def translatable(
    value: object, name: str, params: Mapping[str, Any] | None = None, *, required: bool = False
) -> tuple[str, dict[str, Any] | None]:
    """Return the text to store, and the parameters to format it with when shown.

    What ``gettext_lazy()`` returned is stored as its msgid, so that each viewer reads it in
    their own language; the parameters are None for text that must be shown as it is. Other
    lazy text, such as one with a context or a plural, is translated now. Raises
    ``ValueError`` for a plural whose number is not among the parameters.
    """
    if isinstance(value, Promise):
        args: tuple[Any, ...] = getattr(value, "_args", ())
        if type(value) is _lazy_text and len(args) == 1 and isinstance(args[0], str):
            return text(args[0], name, required=required), dict(params or {})
        value = _formatted(value, name, params)
    return text(value, name, required=required), None


def _formatted(value: Any, name: str, params: Mapping[str, Any] | None) -> str:
    choices = getattr(value, "_kw", {})
    if not choices.get("plural") or "number" in choices:
        return _filled(str(value), params)
    try:
        return str(value % dict(params or {}))
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{name} depends on a number; give it in the details, under the name that it has in the text."
        ) from None


def public_text(value: str, params: Mapping[str, Any] | None) -> str:
    """Return a stored text in the language that is active now (see :func:`translatable`)."""
    if params is None or not value:
        return value
    return _filled(gettext(value), params)


def _filled(template: str, params: Mapping[str, Any] | None) -> str:
    # A dict would fit "100 % sure" too.
    if not params or "%(" not in template:
        return template
    try:
        return template % params
    except (KeyError, TypeError, ValueError, OverflowError):
        return template


def fitting(value: str, name: str, most: int = 255) -> str:
    """Return a name that every database, and every broker, has room for; raise ``ValueError`` for another."""
    if len(value) > most:
        raise ValueError(f"{name} has {len(value)} characters, {most} at most: {value[:80]}…")
    return value


def identifier(value: object, name: str) -> str:
    """Return a short machine-readable name: 1 to 64 characters, none of them invisible."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}.")
    if not value or len(value) > MAX_NAME or not value.isprintable() or " " in value:
        raise ValueError(f"{name} must be 1 to {MAX_NAME} visible characters without spaces, not {value[:80]!r}.")
    return value


def event_type(value: object) -> str:
    """Return the type of an event, which may be the developer's own; the ends' are refused."""
    result = identifier(value, "type")
    if result in TERMINAL:
        raise ValueError(f"The type {result!r} is reserved: it says how a process ended.")
    return result


def milestone_name(value: object) -> str:
    """Return the name of a milestone; the ones that the app sets itself are refused."""
    result = identifier(value, "A milestone's name")
    if result in RESERVED:
        raise ValueError(f"The milestone {result!r} is reserved: it is reached by {RESERVED[result]}.")
    return result


def kind(value: object) -> str:
    """Return a kind: a slug of up to 100 characters, or the empty string."""
    if not isinstance(value, str):
        raise TypeError(f"kind must be a str, not {type(value).__name__}.")
    if value and (len(value) > 100 or not _slug.match(value)):
        raise ValueError(f"kind must be a slug of up to 100 characters, such as 'flight-search', not {value[:80]!r}.")
    return value


def number(value: object, name: str) -> float:
    """Return an amount of work: finite, not negative, and small enough to be counted exactly."""
    if isinstance(value, (bool, str, bytes, bytearray)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}.")
    try:
        result = float(value)  # type: ignore[arg-type]
    except OverflowError:
        result = math.inf
    except TypeError:
        raise TypeError(f"{name} must be a number, not {type(value).__name__}.") from None
    except ValueError:
        result = math.nan  # Decimal's signalling NaN.
    if not 0 <= result <= MAX_NUMBER:
        raise ValueError(f"{name} must be between 0 and 2**53, not {result}.")
    return abs(result)  # Zero has no sign.


def count(value: object, name: str, *, least: int = 0) -> int:
    """Return a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if not least <= value <= 2**31 - 1:
        raise ValueError(f"{name} must be at least {least}, and less than 2**31.")
    return value


def duration(value: object, name: str) -> float:
    """Return seconds, from seconds or a timedelta; at most ten years."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be seconds or a timedelta, not {type(value).__name__}.")
    # Not made a float before it is known to fit into one.
    if not 0 <= value <= MAX_DURATION:
        raise ValueError(f"{name} must be between 0 seconds and ten years ({MAX_DURATION} seconds).")
    return abs(float(value))


def positive_duration(value: object, name: str) -> float:
    """Return seconds of more than nothing."""
    result = duration(value, name)
    if result == 0:
        raise ValueError(f"{name} must be more than 0 seconds.")
    return result


def as_json(value: object, name: str, *, limit: int | None = None) -> Any:
    """Return ``value`` as the JSON that will be read back: plain, bounded, alike on every database.

    Dates, UUIDs, decimals and lazy text become strings, and so do numbers past 64 bits.
    Raises ``TypeError`` for what has no place in JSON (NaN and circular references
    included) and ``ValueError`` for what is too large or nested too deeply.
    """
    limit = settings.MAX_JSON if limit is None else limit
    try:
        encoded = json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False, ensure_ascii=False)
        decoded = json.loads(encoded)
    except RecursionError:
        raise ValueError(f"{name} is nested more than {MAX_DEPTH} levels deep.") from None
    except Exception as error:  # Objects inside it may raise anything.
        raise TypeError(f"{name} can't be stored as JSON: {_reason(error)}") from error
    if len(encoded.encode("utf-8", "replace")) > limit:
        raise ValueError(f"{name} is larger than {limit} bytes of JSON; store it elsewhere and keep a reference.")
    return _plain(decoded, name, MAX_DEPTH)


def json_object(value: object, name: str) -> dict[str, Any]:
    """Return a mapping as the JSON object that will be read back (see :func:`as_json`)."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, such as a dict, not {type(value).__name__}.")
    result: dict[str, Any] = as_json(dict(value), name)
    return result


def _plain(value: Any, name: str, depth: int) -> Any:
    if isinstance(value, str):
        return _unstorable_in_json.sub(REPLACEMENT, value)
    if isinstance(value, (dict, list)):
        if depth == 0:
            raise ValueError(f"{name} is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(value, list):
            return [_plain(item, name, depth - 1) for item in value]
        return {_plain(key, name, depth): _plain(item, name, depth - 1) for key, item in value.items()}
    if isinstance(value, float) and abs(value) < 1e16:
        return value + 0.0  # PostgreSQL knows no negative zero.
    if isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:
        return str(value)
    # PostgreSQL writes out what other databases keep as 1e+16.
    return int(value) if isinstance(value, float) else value


def summary(value: object, reason: Exception) -> dict[str, str]:
    """Return what stands for a returned value that can't be stored, and why it does."""
    try:
        # Not repr(): of fifty megabytes it would make fifty more.
        shown = _short.repr(value)
    except Exception:
        shown = f"<{type(value).__name__}>"
    return {
        "not_stored": _reason(reason),
        "type": text(f"{type(value).__module__}.{type(value).__qualname__}", "type", limit=200),
        "summary": text(shown, "summary", limit=500),
    }


def _reason(error: Exception) -> str:
    try:
        return text(error, "error", limit=300)
    except TypeError:
        return type(error).__name__
