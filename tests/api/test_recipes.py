"""That the Python of docs/api.md does what it says: against a server, and through restarts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.models import Process
from tests.api.documents import code
from tests.api.programs import CHOSEN, links_of, program
from tests.push.serving import Site, serve
from tests.workers import wait_until


@pytest.fixture(scope="module")
def site(django_db_setup: None) -> Iterator[Site]:
    with serve("tests.api.asgi:application", **CHOSEN) as site:
        yield site


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def client(site: Site, ann: User) -> Iterator[httpx.Client]:
    with program(ann, base_url=site.url) as client:
        yield client


def recipe(file: str) -> Any:
    module = ModuleType(file.removesuffix(".py"))
    exec(compile(code(file), f"docs/api.md: {file}", "exec"), vars(module))
    return module


def test_run_returns_the_result(client: httpx.Client) -> None:
    run = recipe("client.py").run
    assert run(client, "/imports/", {"row": ["a", "b"]}, key="one") == {"imported": 2}
    # Once more with the same key: nothing is done twice.
    assert run(client, "/imports/", {"row": ["a", "b"]}, key="one") == {"imported": 2}
    assert Process.objects.count() == 1
    with pytest.raises(httpx.HTTPStatusError) as refused:
        run(client, "/imports/", {"row": ["c"]}, key="one")
    assert refused.value.response.json()["code"] == "idempotency_conflict"


def test_run_raises_what_is_said_of_a_failure(client: httpx.Client) -> None:
    with pytest.raises(RuntimeError, match="That row is broken"):
        recipe("client.py").run(client, "/imports/", {"row": ["broken"]}, key="one")


def test_wait_for_is_as_patient_as_the_server_wants_and_loads_only_what_is_new(
    client: httpx.Client, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process.objects.start("Waiting", owner=ann)
    codes: list[int] = []
    client.event_hooks["response"] = [lambda response: codes.append(response.status_code)]
    module = recipe("client.py")
    pauses: list[int] = []
    monkeypatch.setitem(vars(module), "time", ModuleType("time"))
    module.time.sleep = pauses.append

    def end_when_known() -> None:
        wait_until(lambda: codes.count(304) > 3)
        process.succeed()

    thread = threading.Thread(target=end_when_known)
    thread.start()
    status = module.wait_for(client, client.get(links_of(process)["status"]))
    thread.join()
    assert status["status"] == "succeeded"
    assert set(pauses) == {1}
    assert codes.count(200) == 3  # the first two, of which only the second is remembered, and the end


def test_events_are_told_once_and_in_order_through_restarts(site: Site, client: httpx.Client, ann: User) -> None:
    process = Process.objects.start("Work", owner=ann)
    told = []
    for event in recipe("stream.py").events(client, links_of(process)):
        told.append(event["seq"])
        if event["seq"] in (5, 10):
            site.restart()
        if event["type"] != "succeeded":
            process.log("line") if event["seq"] < 15 else process.succeed()
    assert told == list(range(1, 17))


def test_events_say_when_what_came_before_is_void(client: httpx.Client, ann: User) -> None:
    process = Process.objects.start("Work", owner=ann)
    for number in range(5):
        process.log(f"line {number}")
    process.succeed()
    process.event_set.filter(seq__lte=3).delete()
    told = list(recipe("stream.py").events(client, links_of(process)))
    assert told[0] == {"type": "reset", "after": 3, "reason": "purged"}
    assert [event["seq"] for event in told[1:]] == [4, 5, 6, 7]


def test_events_of_what_is_not_there_are_an_error(client: httpx.Client, ann: User) -> None:
    process = Process.objects.start("Work", owner=User.objects.create_user("ben"))
    with pytest.raises(httpx.HTTPStatusError):
        list(recipe("stream.py").events(client, links_of(process)))


def test_a_token_needs_no_csrf_token(ann: User, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.api.tokens.documented"]
    process = Process.objects.start("Work", owner=ann)
    client = Client(enforce_csrf_checks=True, headers={"Accept": "application/json"})
    client.force_login(ann)
    cancel = links_of(process)["cancel"]
    refused = [client.post(cancel, headers=headers) for headers in ({}, {"Authorization": "Bearer nobody"})]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(403, "csrf")}
    client.logout()
    assert client.post(cancel, headers={"Authorization": "Bearer ann"}).status_code == 200


def test_events_wait_as_long_as_a_server_says_that_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = recipe("stream.py")
    monkeypatch.setitem(vars(module), "time", ModuleType("time"))
    pauses: list[float] = []
    module.time.sleep = pauses.append
    event = 'id: 1\ndata: {"seq": 1}\n\n'
    answers = iter(
        [
            httpx.Response(503, headers={"Retry-After": "17"}),
            httpx.Response(502, html="<h1>Bad Gateway</h1>"),
            httpx.Response(504, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
            httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=event),
            httpx.Response(204),
        ]
    )
    with httpx.Client(transport=httpx.MockTransport(lambda request: next(answers)), base_url="http://site") as client:
        assert list(module.events(client, {"stream": "/stream/"})) == [{"seq": 1}]
    assert pauses == [17, 1, 1, 1]
