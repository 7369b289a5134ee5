"""A small browser: it keeps cookies, reads forms and sends them back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode, urljoin

__all__ = ["Browser", "Form", "Page"]


@dataclass
class Form:
    """A form of a page, with what its fields hold."""

    action: str
    values: dict[str, str] = field(default_factory=dict)

    def fits(self, wanted: Mapping[str, str]) -> bool:
        """Say whether it has the fields ``wanted``, and none of those that are fixed holds something else."""
        return all(self.values.get(name) in ("", value) for name, value in wanted.items())


@dataclass(frozen=True)
class Page:
    """What the server answered."""

    url: str
    status: int
    headers: HTTPMessage
    text: str

    @property
    def location(self) -> str:
        """The path it redirects to; the empty string if it doesn't."""
        return self.headers.get("Location") or ""

    def form(self, wanted: Mapping[str, str]) -> Form:
        """Return the first form in the page's main part that fits. Raises ``LookupError``."""
        parser = _Forms(self.url)
        parser.feed(self.text)
        for form in parser.forms:
            if form.fits(wanted):
                return form
        raise LookupError(f"{self.url} has no form with {', '.join(wanted) or 'a button'}.")

    def json(self) -> Any:
        """Return what it holds as JSON."""
        return json.loads(self.text)


class Browser:
    """Gets and posts as a browser without JavaScript does."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.cookies), _NoRedirects(), urllib.request.ProxyHandler({})
        )

    def open(self, url: str, data: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Page:
        """Return the answer to a GET, or to a POST of ``data``, whatever its status; redirects are not followed."""
        body = None if data is None else urlencode(data).encode()
        request = urllib.request.Request(urljoin(self.site, url), body, dict(headers or {}))  # noqa: S310 - our own site
        try:
            response = self.opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Page(response.url, response.status, response.headers, response.read().decode())

    def get(self, url: str) -> Page:
        """Return the page, after a few redirects if there are any. Raises ``LookupError`` for anything but a 200."""
        for _ in range(5):
            page = self.open(url)
            if not page.location:
                break
            url = urljoin(page.url, page.location)
        if page.status != 200:
            raise LookupError(f"{url} answers {page.status}.")
        return page

    def submit(self, page: Page, values: Mapping[str, str]) -> Page:
        """Fill in the form of ``page`` that has these fields, and send it."""
        form = page.form(values)
        return self.open(form.action, {**form.values, **values})


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


class _Forms(HTMLParser):
    """Gathers the forms in <main> that are sent by POST."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.forms: list[Form] = []
        self.open_form: Form | None = None
        self.in_main = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "main":
            self.in_main = True
        elif tag == "form" and self.in_main and given.get("method", "").lower() == "post":
            self.open_form = Form(urljoin(self.url, given.get("action", "")))
            self.forms.append(self.open_form)
        elif tag == "input" and given.get("type") == "checkbox" and "checked" not in given:
            pass  # Only what is ticked is sent.
        elif tag == "input" and self.open_form is not None and "name" in given:
            # What is typed over counts as empty.
            typed = given.get("type", "text") not in ("hidden", "checkbox")
            self.open_form.values[given["name"]] = "" if typed else given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.open_form = None
        elif tag == "main":
            self.in_main = False
