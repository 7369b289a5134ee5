"""The one way from an exception to what people read about it."""

from __future__ import annotations

import secrets
import traceback
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext, gettext_noop

from . import values
from .conf import settings

__all__ = ["GENERIC", "LOST", "NO_SUCCESS", "OWN", "TIMED_OUT", "Failure", "describe", "shown"]

MAX_DETAIL = 20_000
MAX_CHAIN = 50
"""How many exceptions of a chain are told, the last ones."""
# Without the letters and digits that are mistaken for one another when read aloud.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"

GENERIC = gettext_noop("Something went wrong on our side.")
LOST = gettext_noop("The worker was lost.")
TIMED_OUT = gettext_noop("It took too long.")
NO_SUCCESS = gettext_noop("It did not succeed.")
OWN = frozenset({GENERIC, LOST, TIMED_OUT, NO_SUCCESS})
"""Words of ours: stored as they are here, translated when they are read."""


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
    secrets: people get a plain sentence and a reference, staff get the traceback. Only
    those that ``PUBLIC_EXCEPTIONS`` names, and what is derived from them, speak for themselves.
    """
    if not isinstance(error, BaseException):
        if not isinstance(error, (str, Promise)):
            raise TypeError(f"error must be a text or an exception, not {error!r:.100}.")
        return Failure(values.text(error, "error", required=True), "", "")
    reference = "".join(secrets.choice(ALPHABET) for _ in range(8))
    return Failure(_public(error), reference, _traceback(error))


def _public(error: BaseException) -> str:
    """Return the message of an exception that may be shown to people, else a plain sentence."""
    for path in settings.PUBLIC_EXCEPTIONS:
        try:
            if isinstance(error, import_string(path)) and (text := values.text(error, "error").strip()):
                return text
        except Exception:  # noqa: S112
            continue  # A system check says so; a message that can't be made into text is nothing to show.
    return GENERIC


def shown(public: str) -> str:
    """Return what was stored of a failure in the language that is active now."""
    return gettext(public) if public in OWN else public


def _traceback(error: BaseException) -> str:
    try:
        lines = "".join(_last_of_chain(error).format())
    except Exception:
        lines = f"{type(error).__module__}.{type(error).__qualname__} (its traceback can't be formatted)"
    if len(lines) > MAX_DETAIL:
        half = MAX_DETAIL // 2
        lines = f"{lines[:half]}\n{values.ELLIPSIS}\n{lines[-half:]}"
    return values.clean(lines)


def _last_of_chain(error: BaseException) -> traceback.TracebackException:
    """Return the traceback without those exceptions that are too far back to tell much."""
    told = link = traceback.TracebackException.from_exception(error)
    for _ in range(MAX_CHAIN - 1):
        earlier = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        if earlier is None:
            return told
        link = earlier
    link.__cause__ = link.__context__ = None
    return told
