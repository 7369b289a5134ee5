"""That the JavaScript of docs/api.md does what it says: in a browser, whatever goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from django.contrib.auth.models import User

from django_progress.models import Process
from tests.api.programs import CHOSEN, links_of
from tests.celery import app
from tests.push.serving import Site, client_of, serve


@pytest.fixture(scope="module")
def site(django_db_setup: None) -> Iterator[Site]:
    with serve("tests.api.asgi:application", **CHOSEN) as site:
        yield site


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


RUN = """async ([rows, key]) => {
    const { run } = await import("/scripts/run.js");
    const events = [];
    const csrfToken = document.cookie.match(/csrftoken=(\\w+)/)[1];
    const onEvent = (event) => events.push(event);
    const form = rows.map((row) => ["row", row]);
    try {
        return { result: await run("/imports/", form, { key, csrfToken, onEvent }), events };
    } catch (error) {
        return { error: error.message, events };
    }
}"""

# A channel that loses, doubles and swaps; and begins late.
FOLLOW = """async (links) => {
    const { follow } = await import("/scripts/merge.js");
    const shown = [];
    const pushed = [];
    const subscribe = (heard) => {
        const source = new EventSource(links.stream + "?after=4");
        let held = null;
        source.onmessage = (message) => {
            const event = JSON.parse(message.data);
            pushed.push(event.seq);
            if (event.seq % 7 === 0) return;
            if (event.seq % 3 === 0) { held = event; return; }
            heard(event);
            heard(event);
            if (held) heard(held);
            held = null;
        };
    };
    await follow(links, subscribe, (event) => shown.push(event.seq), (why) => shown.push(why));
    return { shown, pushed };
}"""

# Both with a clock that is fast, and with answers that are given here.
STUB = """
    const { setTimeout } = window;
    const pauses = [];
    window.setTimeout = (call, time) => { pauses.push(time); return setTimeout(call, time / 500); };
    let heard = () => {};
    const asked = [];
    window.fetch = async (url) => {
        await null;
        asked.push(url);
        const { pushed = [], fails, status = 200, body = "<h1>Bad Gateway</h1>", headers } = answers.shift();
        pushed.forEach((seq) => heard({ seq }));
        if (fails) throw new TypeError("Failed to fetch");
        return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });
    };
    const told = [];
"""
FOLLOW_STUB = f"""async (answers) => {{
    const {{ follow }} = await import("/scripts/merge.js");
    {STUB}
    const subscribe = (call) => (heard = call);
    try {{
        await follow({{ events: "/e/" }}, subscribe, (event) => told.push(event.seq), (why) => told.push(why));
    }} catch (error) {{
        told.push(error.message);
    }}
    return {{ told, asked, left: answers.length }};
}}"""
RUN_STUB = f"""async (answers) => {{
    const {{ run }} = await import("/scripts/run.js");
    {STUB}
    window.EventSource = class {{
        static CLOSED = 2;
        readyState = 2;
        addEventListener() {{}}
        constructor() {{ setTimeout(() => this.onerror()); }}
    }};
    try {{
        told.push(await run("/start/", {{}}, {{ key: "k", csrfToken: "t", onEvent() {{}} }}));
    }} catch (error) {{
        told.push(`${{error.name}}: ${{error.message}}`);
    }}
    return {{ told, pauses, left: answers.length }};
}}"""


@pytest.fixture
def open_site(page: Any, ann: User) -> Callable[[str], Any]:
    def open_site(address: str) -> Any:
        with client_of(ann) as known:
            page.context.add_cookies([{"name": "sessionid", "value": known.cookies["sessionid"], "url": address}])
        page.goto(address)
        return page

    return open_site


@pytest.mark.browser
def test_run_in_a_browser(site: Site, open_site: Callable[[str], Any]) -> None:
    page = open_site(site.url)
    told = page.evaluate(RUN, [["a", "b"], "one"])
    assert told["result"] == {"imported": 2}
    assert [event["seq"] for event in told["events"]] == list(range(1, len(told["events"]) + 1))
    assert told["events"][-1]["type"] == "succeeded"

    told = page.evaluate(RUN, [["broken"], "two"])
    assert told["error"] == "That row is broken."
    told = page.evaluate(RUN, [["another"], "two"])
    assert told["error"].startswith("idempotency_conflict: ")


@pytest.mark.browser
@pytest.mark.urls("tests.api.urls")
def test_run_in_a_browser_polls_where_nothing_is_streamed(live_server: Any, open_site: Callable[[str], Any]) -> None:
    with start_worker(app, perform_ping_check=False, pool="threads", loglevel="WARNING"):
        told = open_site(live_server.url).evaluate(RUN, [["a", "b"], "one"])
    assert told == {"result": {"imported": 2}, "events": []}


@pytest.mark.browser
def test_buffer_and_merge_in_a_browser(site: Site, open_site: Callable[[str], Any], ann: User) -> None:
    process = Process.objects.start("Work", owner=ann)
    for number in range(9):
        process.log(f"line {number}")
    page = open_site(site.url)

    def work() -> None:
        from django.db import connections

        try:
            for number in range(40):
                process.log(f"more {number}")
                threading.Event().wait(0.02)
            process.succeed()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    told = page.evaluate(FOLLOW, links_of(process))
    thread.join()
    assert told["shown"] == list(range(1, 52))
    assert told["pushed"][0] == 5


def page_of(*numbers: int, last: int, done: bool = False, reset: tuple[int, str] | None = None) -> dict[str, Any]:
    why = reset and {"after": reset[0], "reason": reset[1]}
    return {"body": {"events": [{"seq": seq} for seq in numbers], "last_seq": last, "done": done, "reset": why}}


@pytest.mark.browser
def test_merge_survives_what_fails_for_a_while(site: Site, open_site: Callable[[str], Any]) -> None:
    answers = [
        {"fails": True},
        {"status": 502},
        {"pushed": [1, 3], "status": 502},  # What is pushed meanwhile asks, too, and fails as well.
        {"status": 429},
        {"body": "half an answ"},
        page_of(2, 3, last=3),
        page_of(4, last=4, done=True),
    ]
    told = open_site(site.url).evaluate(FOLLOW_STUB, answers)
    assert (told["told"], told["left"]) == ([1, 2, 3, 4], 0)


@pytest.mark.browser
def test_merge_ends_with_what_does_not_pass(site: Site, open_site: Callable[[str], Any]) -> None:
    told = open_site(site.url).evaluate(FOLLOW_STUB, [{"status": 404}])
    assert told["told"][0].startswith("404")


@pytest.mark.browser
def test_merge_never_goes_back_because_of_a_purge(site: Site, open_site: Callable[[str], Any]) -> None:
    late = {**page_of(3, 4, last=5, reset=(2, "purged")), "pushed": [1, 2, 3, 4]}
    lost = {**page_of(8, last=9, reset=(7, "purged")), "pushed": [6, 9]}
    told = open_site(site.url).evaluate(FOLLOW_STUB, [late, lost, page_of(last=9, done=True)])
    assert told["told"] == [1, 2, 3, 4, "purged", 8, 9]
    assert told["asked"][1] == "/e/?after=4"


@pytest.mark.browser
def test_merge_forgets_all_when_its_number_is_unknown(site: Site, open_site: Callable[[str], Any]) -> None:
    answers = [page_of(1, 2, last=2), {**page_of(1, last=1, reset=(0, "unknown")), "pushed": [4]}]
    told = open_site(site.url).evaluate(FOLLOW_STUB, [*answers, page_of(2, 3, last=3), page_of(last=3, done=True)])
    # What was pushed before, as number 4, isn't the one that may come.
    assert told["told"] == [1, 2, "unknown", 1, 2, 3]


@pytest.mark.browser
def test_merge_ends_only_when_all_is_shown(site: Site, open_site: Callable[[str], Any]) -> None:
    answers = [page_of(1, 2, last=4, done=True), page_of(last=4, done=True), page_of(3, 4, last=4, done=True)]
    told = open_site(site.url).evaluate(FOLLOW_STUB, answers)
    assert (told["told"], told["left"]) == ([1, 2, 3, 4], 0)


ACTIVE = {"done": False, "links": {"status": "/s/", "result": "/r/", "stream": "/e/"}}
OVER = {**ACTIVE, "done": True, "status": "succeeded"}


@pytest.mark.browser
def test_run_does_not_give_up_when_it_asks_in_vain(site: Site, open_site: Callable[[str], Any]) -> None:
    answers = [
        {"status": 202, "body": ACTIVE},
        {"fails": True},
        {"status": 502},
        {"status": 503, "headers": {"Retry-After": "17"}},
        {"body": ACTIVE, "headers": {"Retry-After": "3"}},
        {"body": OVER},
        {"status": 502},
        {"body": {"result": 7, "error": None}},
    ]
    told = open_site(site.url).evaluate(RUN_STUB, answers)
    assert told == {"told": [7], "pauses": [5000, 5000, 17000, 3000, 5000], "left": 0}


@pytest.mark.browser
def test_run_says_what_is_wrong_also_where_that_is_no_json(site: Site, open_site: Callable[[str], Any]) -> None:
    told = open_site(site.url).evaluate(RUN_STUB, [{"status": 413}])
    assert told["told"][0].startswith("Error: 413")
