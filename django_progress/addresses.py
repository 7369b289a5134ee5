"""The one safe-URL function: where a process may lead, asked when a URL is stored and again when it is used."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.utils.encoding import iri_to_uri

from .conf import settings
from .exceptions import UnsafeURL

__all__ = ["display_url", "stored_url"]

_url_refused = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]")


def stored_url(value: object, name: str, request: HttpRequest | None = None) -> str:
    """Return a URL that a process may lead to; an absolute one of this very site becomes relative.

    Raises ``UnsafeURL`` for another scheme, another host (see ``ALLOWED_REDIRECT_HOSTS``),
    white space, backslashes and control characters.
    """
    if value is None:
        return ""
    url = str(value)
    if not url:
        return ""
    if request is not None and not _url_refused.search(url):
        parts = _split(url)
        own = request.get_host().lower()
        if parts is not None and parts.scheme in ("http", "https") and parts.netloc.lower() == own:
            url = parts._replace(scheme="", netloc="").geturl() or "/"
    if len(url) > 2_000:
        raise UnsafeURL(f"{name} is longer than 2,000 characters.")
    if not display_url(url):
        raise UnsafeURL(
            f"{name} must be a path of this site that begins with one slash, or a http(s) URL of a host named in "
            f"DJANGO_PROGRESS['ALLOWED_REDIRECT_HOSTS'], without spaces or backslashes; not {url[:200]!r}."
        )
    return url


def display_url(url: str) -> str:
    """Return ``url`` as a browser may be sent there, in ASCII, else the empty string. Use it at every way out."""
    if not url or _url_refused.search(url):
        return ""
    parts = _split(url)
    if parts is None:
        return ""
    if not parts.scheme and not parts.netloc:
        return iri_to_uri(url) if url.startswith("/") and not url.startswith("//") else ""
    if parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.password is None:
        allowed = {host.lower() for host in settings.ALLOWED_REDIRECT_HOSTS}
        return iri_to_uri(url) if parts.netloc.lower() in allowed or parts.hostname in allowed else ""
    return ""


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts
