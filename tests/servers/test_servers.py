"""What each kind of server makes of live streams: those of ASGI have them, and on the others pages poll."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import httpx
import pytest
from django.urls import reverse
from httpx_sse import EventSource, ServerSentEvent

from tests.servers.conftest import Site

ASGI = ["uvicorn", "gunicorn with uvicorn"]
WSGI = ["gunicorn", "runserver"]
SCRIPT = "django_progress/stream.js"
SOON = 8.0
"""Seconds in which a server ends, on a busy machine; a stream would live for five minutes."""


def address(name: str, key: str) -> str:
    return reverse(f"django_progress:process-{name}", args=[key])


def connect(site: Site) -> httpx.Client:
    return httpx.Client(base_url=site.url, cookies=site.cookies, timeout=10)


def read(response: httpx.Response) -> Iterator[ServerSentEvent]:
    """Yield the events, without what only says when to come back."""
    return (event for event in EventSource(response).iter_sse() if event.data)


@pytest.mark.parametrize("site", ASGI, indirect=True)
def test_streams_run_under_asgi(site: Site) -> None:
    key = site.start()
    events: list[ServerSentEvent] = []
    with connect(site) as client, client.stream("GET", address("stream", key)) as response:
        assert response.status_code == 200
        for event in read(response):
            events.append(event)
            if len(events) == 1:
                # Now, while it is read: nothing waits for the stream's end, in the server or on its way.
                site.cancel(key)
    assert [event.json()["type"] for event in events] == ["milestone", "cancelled"]
    assert [event.id for event in events] == ["1", "2"]
    with connect(site) as client:
        again = client.get(address("stream", key), headers={"Last-Event-ID": "2"})
    assert again.status_code == 204


@pytest.mark.parametrize("site", ASGI, indirect=True)
def test_pages_offer_a_stream_under_asgi(site: Site) -> None:
    page = site.browser.get(address("wait", site.start())).text
    assert SCRIPT in page
    assert site.browser.open(f"/static/{SCRIPT}").status == 200


@pytest.mark.parametrize("site", WSGI, indirect=True)
def test_pages_poll_under_wsgi(site: Site) -> None:
    key = site.start()
    page = site.browser.get(address("wait", key)).text
    assert SCRIPT not in page
    assert address("wait-fragment", key) in page
    with connect(site) as client:
        poll = client.get(f"{address('wait-fragment', key)}?dp-shown=", headers={"HX-Request": "true"})
        assert poll.status_code == 200
        assert "hx-get" in poll.text


@pytest.mark.parametrize("site", WSGI, indirect=True)
@pytest.mark.parametrize("of", ["process", "page"])
def test_stream_is_refused_at_once_under_wsgi(site: Site, of: str) -> None:
    key = site.start()
    page_stream = f"{reverse('django_progress:process-page-stream')}?poll={address('wait-fragment', key)}"
    with connect(site) as client:
        begin = time.monotonic()
        answer = client.get(
            page_stream if of == "page" else address("stream", key), headers={"Accept": "text/event-stream"}
        )
        took = time.monotonic() - begin
        assert answer.status_code == 406, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        # The one worker that gunicorn has here is free for others.
        assert client.get(address("status", key)).status_code == 200
    assert took < SOON / 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ends_though_streams_are_open(uvicorn: Site, number: signal.Signals) -> None:
    site = uvicorn
    key = site.start()
    with connect(site) as client:
        streams = [client.send(client.build_request("GET", address("stream", key)), stream=True) for _ in range(5)]
        readers = [read(stream) for stream in streams]
        assert [next(reader).id for reader in readers] == ["1"] * 5
        site.end(number, within=SOON)
        # They end as a stream does, so that a browser comes back; they aren't cut in the middle of an event.
        assert [list(reader) for reader in readers] == [[]] * 5
