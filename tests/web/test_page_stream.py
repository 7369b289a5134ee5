"""The one stream of a page, as the server sends it: which regions it knows, what it says of them, and to whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.template import Context, Template
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import reverse
from django.utils import translation
from httpx_sse import EventSource, ServerSentEvent

from django_progress import sharing
from django_progress.models import Process
from django_progress.views import page_stream, regions
from django_progress.views.live import Live
from tests.push.serving import Site, client_of, serve
from tests.web.conftest import url

pytestmark = pytest.mark.django_db(transaction=True)

STREAM = "/progress/stream/"


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    return {"WATCH_INTERVAL": 0.05, "STREAM_KEEP_ALIVE": 1.0}


@pytest.fixture
def site(quick: dict[str, Any], transactional_db: None) -> Iterator[Site]:
    with serve(**quick) as site:
        yield site


@contextmanager
def streamed(site: Site, user: User | None, *polls: str, **headers: str) -> Iterator[Iterator[ServerSentEvent]]:
    """Open a page's stream; what is given are its events."""
    query = urlencode([("poll", poll) for poll in polls])
    asking = client_of(user, base_url=site.url, timeout=20)
    with asking as client, client.stream("GET", f"{STREAM}?{query}", headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield (event for event in EventSource(response).iter_sse() if event.event != "message")


def shown(client: Client, address: str) -> str:
    """Return the address that a page polls, with the token of what it shows."""
    content = client.get(f"{address}{'&' if '?' in address else '?'}dp-shown=").content.decode()
    return content.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")


def waits(process: Process) -> str:
    return url("wait-fragment", process)


def test_what_has_changed_is_brought_as_a_poll_would_bring_it(site: Site, user: User, mine: Client) -> None:
    process = Process.objects.start("Import <b>", owner=user, total=100)
    with streamed(site, user, shown(mine, waits(process))) as events:
        hello = json.loads(next(events).data)
        assert hello == {"held": {f"dp-wait-{process.key}-live": 30_000}, "alive": 2500}
        process.set_progress(30)
        while "30 %" not in (live := next(events)).data:
            assert live.event in ("live", "alive")
        assert live.event == "live"
        polled = mine.get(f"{waits(process)}?dp-shown=x").content.decode()
        assert without_jitter(live.data) == without_jitter(polled)
        process.succeed()
        # Where that leads is the poll's to say.
        assert json.loads(following(events, "poke").data) == [f"dp-wait-{process.key}-live"]
        assert next(events).event == "again"
        assert not list(events)


def without_jitter(html: str) -> list[str]:
    """Return the lines that hold neither an interval nor what it took so far."""
    return [line for line in html.strip().splitlines() if "every" not in line and "so far" not in line]


def following(events: Iterator[ServerSentEvent], name: str) -> ServerSentEvent:
    return next(event for event in events if event.event == name)


def test_what_is_shown_already_is_not_brought_again(site: Site, user: User, mine: Client) -> None:
    process = Process.objects.start("Import", owner=user, total=100)
    Process.objects.filter(pk=process.pk).update(expires_at=None)
    with streamed(site, user, shown(mine, waits(process))) as events:
        assert [next(events).event for _turn in range(2)] == ["hello", "alive"]
    with streamed(site, user, f"{waits(process)}?dp-shown=other") as events:
        assert [next(events).event for _turn in range(2)] == ["hello", "live"]


def test_each_way_to_show_one(site: Site, user: User) -> None:
    process = Process.objects.start("Import", owner=user, total=100)
    link = sharing.get_share_url(process)
    polls = {
        f"dp-wait-{process.key}-live": waits(process),
        f"dp-status-{process.key}-live": url("status-fragment", process),
        f"dp-bar-{process.key}-2-live": url("status-fragment", process, "?as=bar&dp-copy=2"),
        f"dp-processing-{process.key}-live": url("status-fragment", process, "?as=processing"),
        f"dp-shared-{process.key}-live": f"{link}fragment/",
        "dp-mine-live": url("list-fragment"),
    }
    with streamed(site, user, *polls.values(), "/nowhere/", "https://example.com/", "", "/progress/") as events:
        assert set(json.loads(next(events).data)["held"]) == set(polls)
        brought = [next(events) for _turn in range(6)]
        assert sorted(event.event for event in brought) == ["live"] * 5 + ["poke"]
        ids = {event.data.partition('id="')[2].partition('"')[0] for event in brought if event.event == "live"}
        assert ids == set(polls) - {"dp-mine-live"}
        process.succeed()
        told = [next(events) for _turn in range(4)]
        assert [event.event for event in told].count("live") == 3
        assert not any("hx-get" in event.data for event in told)


@pytest.mark.parametrize("who", ["other", None])
def test_what_may_not_be_seen_is_as_what_is_not_there(site: Site, user: User, other: User, who: str | None) -> None:
    process = Process.objects.start("A secret", owner=user)
    asking = other if who else None
    with client_of(asking, base_url=site.url) as client:
        for poll in (
            waits(process),
            waits(process).replace(str(process.key), "0" * 8 + str(process.key)[8:]),
            "/x/",
            "",
        ):
            response = client.get(STREAM, params={"poll": poll})
            assert (response.status_code, response.content) == (204, b"")
        assert client.get(STREAM).status_code == 204
    own = Process.objects.start("Mine", owner=other)
    if asking:
        with streamed(site, asking, waits(process), waits(own)) as events:
            next(events)
            assert json.loads(next(events).data) == [f"dp-wait-{process.key}-live"]
            assert "A secret" not in next(events).data


def test_what_is_gone_is_told_while_the_rest_goes_on(site: Site, user: User, other: User) -> None:
    process = Process.objects.start("Import", owner=user, total=100)
    own = Process.objects.start("Mine", owner=other)
    token = sharing.get_share_url(process)
    with streamed(site, other, f"{token}fragment/", waits(own)) as events:
        assert [next(events).event for _turn in range(3)] == ["hello", "live", "live"]
        Process.objects.filter(pk=own.pk).delete()
        assert json.loads(following(events, "poke").data) == [f"dp-wait-{own.key}-live"]


def test_a_list_is_told_to_poll_once_a_second_at_most(site: Site, user: User, mine: Client) -> None:
    process = Process.objects.start("Import", owner=user, total=100)
    with streamed(site, user, shown(mine, url("list-fragment"))) as events:
        assert json.loads(next(events).data)["held"] == {"dp-mine-live": 5_000}
        assert json.loads(next(events).data) == ["dp-mine-live"]
        for number in range(5):
            process.milestone(f"m{number}")
        assert next(events).event == "poke"
        assert next(events).event == "alive"


def test_language_and_addresses_are_those_of_the_request(site: Site, user: User) -> None:
    process = Process.objects.start("Import", owner=user, max_attempts=2)
    headers = {"Accept-Language": "de"}
    with streamed(site, user, waits(process), **headers) as events:
        next(events)
        live = next(events).data
    with client_of(user, base_url=site.url, headers=headers) as client:
        polled = client.get(waits(process), params={"dp-shown": "x"}).text
    assert without_jitter(live) == without_jitter(polled)
    assert live.partition("dp-shown=")[2][:16] == polled.partition("dp-shown=")[2][:16]


def test_wsgi_has_none(mine: Client, user: User) -> None:
    process = Process.objects.start("Import", owner=user)
    response = mine.get(STREAM, {"poll": waits(process)})
    assert response.status_code == 406
    assert response["Content-Type"] == "application/problem+json"
    assert mine.post(STREAM).status_code == 405


def test_many_who_look_alike_share_one_rendering(user: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DJANGO_PROGRESS = {"WATCH_INTERVAL": 0.02, "POLL_INTERVALS": (60, 60, 60)}
    process = Process.objects.start("Import", owner=user, total=100)
    made: list[str | None] = []

    def rendered(live: Live, look: regions.Look) -> str:
        made.append(look.surroundings.language)
        return regions.rendered(live, look)

    monkeypatch.setattr(page_stream, "rendered", rendered)

    async def read(language: str, ready: asyncio.Queue[None]) -> str:
        request: Any = AsyncRequestFactory().get(STREAM, {"poll": waits(process)})
        request.user, request.session = user, None
        with translation.override(language):
            response: Any = await page_stream.stream(request)
        async for chunk in response:
            if b"event: live" in chunk:
                ready.put_nowait(None)
                if b"40 %" in chunk:
                    return str(chunk.decode())
        raise AssertionError("It ended.")

    async def scenario() -> set[str]:
        ready: asyncio.Queue[None] = asyncio.Queue()
        readers = [asyncio.create_task(read(language, ready)) for language in ["en", "de"] * 20]
        for _reader in readers:
            await ready.get()
        assert sorted(map(str, made)) == ["de", "en"]
        await asyncio.to_thread(report, process)
        return set(await asyncio.wait_for(asyncio.gather(*readers), 10))

    brought = asyncio.run(scenario())
    assert len(brought) == 2
    assert len(made) == 4


def report(process: Process) -> None:
    process.set_progress(40)
    connections.close_all()


@pytest.mark.parametrize(("streams", "is_asgi", "is_brought"), [
    ("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False),
])  # fmt: skip
def test_the_script_comes_where_streams_are_offered(
    settings: Any, streams: str, is_asgi: bool, is_brought: bool
) -> None:
    settings.DJANGO_PROGRESS = {"STREAMS": streams}
    request = (AsyncRequestFactory() if is_asgi else RequestFactory()).get("/")
    context = Context({"request": request, "csp_nonce": "abc"})
    content = Template("{% load django_progress %}{% progress_assets %}").render(context)
    script = f'<script src="/static/django_progress/stream.js" data-dp-stream="{STREAM}" nonce="abc" defer></script>'
    assert (script in content) == is_brought
    assert ("stream" in content) == is_brought
    assert reverse("django_progress:process-page-stream") == STREAM
