"""Writing server-sent events, the one place where that is done."""

from __future__ import annotations

import re

__all__ = ["CONTENT_TYPE", "comment", "encode", "retry"]

CONTENT_TYPE = "text/event-stream; charset=utf-8"
# What ends a line there; str.splitlines() knows others, which would tear lines apart.
_LINES = re.compile(r"\r\n|\r|\n")


def encode(data: str, *, event: str = "", id: int | None = None) -> bytes:
    """Return one event: ``data`` may hold any text, of which NUL is dropped and each line end becomes ``\\n``.

    ``event`` is its type, a word of ours; "" is the one that a browser calls "message".
    """
    if not event.replace("-", "").isalnum() and event:
        raise ValueError(f"An event's type must be a word, not {event!r:.100}.")
    head = f"id: {id}\n" if id is not None else ""
    if event:
        head += f"event: {event}\n"
    if "\0" in data:
        data = data.replace("\0", "")
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINES.split(data))
    # Half of a surrogate pair is not text that could be sent.
    return f"{head}data: {data}\n\n".encode(errors="replace")


def comment(text: str = "") -> bytes:
    """Return what readers ignore: it keeps the connection alive."""
    # Without an empty line, at which some readers would look for an event.
    return f": {' '.join(text.split())}\n".encode(errors="replace")


def retry(milliseconds: int) -> bytes:
    """Return the advice after how long to come back when the connection is lost."""
    return f"retry: {milliseconds}\n\n".encode()
