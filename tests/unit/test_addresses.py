"""Where a process may lead (fault 71)."""

from __future__ import annotations

import pytest
from django.http import HttpRequest
from django.test import RequestFactory, override_settings

from django_progress import addresses
from django_progress.exceptions import UnsafeURL

HOSTS = {"DJANGO_PROGRESS": {"ALLOWED_REDIRECT_HOSTS": ["ok.example", "port.example:8443"]}}

SAFE = [
    "/",
    "/flights/results/7/",
    "/a;b=c?next=//evil.example#top",
    "/x:y",
    "/ok//evil.example",
    "/%2f/evil.example",
    "http://ok.example",
    "https://ok.example/path?q=1#f",
    "https://OK.example/",
    "https://ok.example:8443/",
    "https://port.example:8443/",
    "https://ok.example?@evil.example",
    "https://ok.example#@evil.example",
]

HOSTILE = [
    # other schemes
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    " javascript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>",
    "blob:x",
    "file:///etc/passwd",
    "ftp://ok.example/",
    "x:y",
    "1http://ok.example",
    "://ok.example",
    # other hosts
    "//evil.example",
    "//ok.example/",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/./\\evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://evil.example",
    "https://ok.example.evil.example",
    "https://evil.example#ok.example",
    "https://evil.example\\@ok.example/",
    "https://ok.example\\.evil.example",
    "https://ok.example@evil.example/",
    "https://ok.example:443@evil.example/",
    "https://ok.example:@evil.example",
    "https://port.example/",
    "https://ok.example.",
    "https://ok.example%2eevil.example/",
    "https://ok.example%00.evil.example",
    "https://ok.example\u3002evil.example",
    "https://ok\uff0eexample/",
    "https://\uff2f\uff2b.example/",
    "https://ok.example\u00ad.evil.example",
    "https://[::1]/",
    "https://[evil",
    "https://{key}.ok.example/",
    # credentials
    "https://user@ok.example/",
    "https://:pw@ok.example/",
    "https://@ok.example/",
    # ports
    "https://ok.example:99999/",
    "https://ok.example:abc/",
    # white space and control characters
    "/\tevil.example",
    "/x\r\nLocation: //evil.example",
    "/x\nSet-Cookie: a=b",
    "/x\x00",
    "/x y",
    " /x",
    "/x ",
    "\u00a0/x",
    "/\x85",
    "/\ud800",
    "\ufeff//evil.example",
    "\u200b//evil.example",
    # not of this site's root
    "relative/path",
    "?q=1",
    "#top",
    ".",
    "{key}",
]


@override_settings(**HOSTS)
@pytest.mark.parametrize("url", SAFE)
def test_urls_that_may_be_led_to(url: str) -> None:
    assert addresses.stored_url(url, "success_url") == url
    assert addresses.display_url(url) == url


@override_settings(**HOSTS)
@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
@pytest.mark.parametrize("request_", [None, RequestFactory().get("/")], ids=["alone", "with request"])
def test_hostile_urls_are_refused_when_stored_and_when_used(url: str, request_: HttpRequest | None) -> None:
    with pytest.raises(UnsafeURL, match="success_url must be a path of this site"):
        addresses.stored_url(url, "success_url", request_)
    assert addresses.display_url(url) == ""


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_url(nothing: object) -> None:
    assert addresses.stored_url(nothing, "success_url") == ""
    assert addresses.display_url("") == ""


@pytest.mark.parametrize("given", [5, b"/x", object(), ["/x"]], ids=type)
def test_no_url_at_all(given: object) -> None:
    with pytest.raises(UnsafeURL):
        addresses.stored_url(given, "success_url")


def test_long_url() -> None:
    assert addresses.stored_url("/" + "a" * 1_999, "success_url")
    with pytest.raises(UnsafeURL, match="success_url is longer than 2,000 characters"):
        addresses.stored_url("/" + "a" * 2_000, "success_url")


def test_placeholder_is_kept() -> None:
    assert addresses.stored_url("/results/{key}/", "success_url") == "/results/{key}/"


@pytest.mark.parametrize(
    ("url", "sent"),
    [("/é", "/%C3%A9"), ("/\u2028", "/%E2%80%A8"), ("/😀?q=ü", "/%F0%9F%98%80?q=%C3%BC"), ('/"<>', "/%22%3C%3E")],
    ids=ascii,
)
def test_what_is_sent_is_ascii(url: str, sent: str) -> None:
    """A header with anything else would reach the browser as =?utf-8?b?…?=."""
    assert addresses.stored_url(url, "success_url") == url
    assert addresses.display_url(url) == sent
    assert addresses.display_url(sent) == sent


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("http://testserver/x?a=b#c", "/x?a=b#c"),
        ("https://testserver/x", "/x"),
        ("http://TestServer/x", "/x"),
        ("http://testserver", "/"),
        ("http://testserver/{key}/", "/{key}/"),
    ],
)
def test_absolute_url_of_this_site_becomes_relative(url: str, stored: str) -> None:
    assert addresses.stored_url(url, "success_url", RequestFactory().get("/")) == stored


@pytest.mark.parametrize(
    "url",
    [
        "http://testserver//evil.example",
        "http://testserver/\\evil.example",
        "http://testserver@evil.example/",
        "http://testserver.evil.example/",
        "//testserver/x",
        "ftp://testserver/x",
    ],
)
def test_this_site_is_no_way_out(url: str) -> None:
    with pytest.raises(UnsafeURL):
        addresses.stored_url(url, "success_url", RequestFactory().get("/"))


def test_host_that_is_no_longer_allowed_is_not_used() -> None:
    with override_settings(**HOSTS):
        url = addresses.stored_url("https://ok.example/", "success_url")
    assert addresses.display_url(url) == ""
