"""The wait page and the status page."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from django_progress import signals
from django_progress.models import Process

from .conftest import HTMX, imports, url

SCRIPT = "<script>alert('x')</script>"


def text(response) -> str:
    """Return the words of a page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def received():
    """What the two signals about waiting were sent with."""
    calls = []

    def listen(signal, sender, **kwargs):
        kwargs.pop("request")
        calls.append(("waiting" if signal is signals.process_waiting else "redirected", kwargs))

    signals.process_waiting.connect(listen)
    signals.process_redirected.connect(listen)
    yield calls
    signals.process_waiting.disconnect(listen)
    signals.process_redirected.disconnect(listen)


def test_the_wait_page(mine, start, received):
    process = start(total=28000, unit="rows", current=11760, age=100)
    process.milestone("read", "Reading rows")
    page = mine.get(url("wait", process))
    html = page.content.decode()

    assert page.status_code == 200
    assert "<title>42 % · Import airports</title>" in html
    assert '<progress class="dp-bar"' in html
    assert 'max="100" value="42"' in html
    for words in ("Reading rows", "11,760 of 28,000 rows", "1 min 40 s so far", "You can safely leave this page"):
        assert words in text(page)
    assert "hx-get=" in html
    assert [name for name, _ in received] == ["waiting"]
    assert received[0][1] == {"process": process}


def test_nothing_about_time_in_the_first_ten_seconds(mine, start):
    page = mine.get(url("wait", start(total=100, current=50, age=9, rate=1.0, samples=9)))

    assert "so far" not in text(page)
    assert " left" not in text(page)
    assert "data-quiet" in page.content.decode()


def test_an_estimate_needs_three_samples(mine, start):
    assert "left" not in text(mine.get(url("wait", start(total=900, current=60, age=60, rate=1.0, samples=2))))
    page = mine.get(url("wait", start(total=900, current=60, age=60, rate=7.0, samples=3)))
    assert "about 2 minutes left" in text(page)


def test_an_unknown_total_has_no_share(mine, start):
    page = mine.get(url("wait", start(unit="rows", current=1240, age=30)))

    assert "1,240 rows" in text(page)
    assert " %" not in text(page)
    assert re.search(r"<progress[^>]* max=\"1\">", page.content.decode())


def test_time_against_a_deadline_is_labelled_as_time(mine, start):
    page = mine.get(url("wait", start(max_duration=20, age=8, expires_in=12)))
    html = page.content.decode()

    assert "8 s of at most 20 s" in text(page)
    assert 'aria-label="Time used" aria-valuetext="8 s of at most 20 s" max="20" value="8"' in html
    assert " %" not in text(page)


def test_counts_come_before_time(mine, start):
    page = mine.get(url("wait", start(max_duration=60, age=8, expires_in=52, total=10, current=4)))

    assert "of at most" not in text(page)
    assert "40 %" in text(page)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({}, "Waiting to begin"),
        ({"attempt_number": 2}, "Waiting to try again (attempt 3 of 50)"),
        ({"attempt_number": 2, "next_attempt_at": 20}, "Trying again in a moment (attempt 3 of 50)"),
        ({"attempt_number": 2, "next_attempt_at": 3600}, "(attempt 3 of 50)"),
        ({"next_attempt_at": 20}, "Goes on in a moment"),
        ({"status": "running", "attempt_token": "t", "attempt_number": 3}, "Running (attempt 3 of 50)"),
    ],
)
def test_the_truth_of_waiting(mine, start, row, words):
    if "next_attempt_at" in row:
        row["next_attempt_at"] = timezone.now() + timezone.timedelta(seconds=row["next_attempt_at"])
    assert words in text(mine.get(url("wait", start(task=imports, max_attempts=50, **row))))


def test_a_later_attempt_says_when(mine, start):
    later = timezone.now() + timezone.timedelta(seconds=3600)
    process = start(task=imports, max_attempts=50, attempt_number=2, next_attempt_at=later)
    page = mine.get(url("wait", process))

    assert f'Trying again at <time datetime="{later.isoformat()}" data-dp-time>' in page.content.decode()


def test_cancelling(mine, start):
    process = start(task=imports, status="running", attempt_token="t", attempt_number=1)
    process.attempt_set.create(
        number=1, attempt_number=1, token="t", started_at=timezone.now(), cancel_requested_at=timezone.now()
    )
    page = mine.get(url("wait", process))

    assert "Cancelling…" in text(page)
    assert 'data-may=""' in page.content.decode()


def test_the_end_leads_on(mine, start, received):
    process = start(success_url="/orders/{key}/")
    process.succeed()
    response = mine.get(url("wait", process))

    assert (response.status_code, response["Location"]) == (303, f"/orders/{process.key}/")
    assert received == [("redirected", {"process": process, "url": f"/orders/{process.key}/"})]
    assert mine.get(url("wait", process), headers=HTMX)["HX-Redirect"] == f"/orders/{process.key}/"


@pytest.mark.parametrize(
    ("end", "expected"), [("succeed", "/s/"), ("fail", "/f/"), ("expire", "/e/"), ("cancel", "/c/")]
)
def test_each_end_leads_to_its_own_place(mine, start, end, expected):
    process = start(success_url="/s/", failure_url="/f/", expired_url="/e/", cancelled_url="/c/", redirect_url="/r/")
    getattr(process, end)(*(["Sorry."] if end == "fail" else []))

    assert mine.get(url("wait", process))["Location"] == expected


def test_without_a_place_of_its_own_it_leads_to_the_status_page(mine, process):
    process.succeed()

    assert mine.get(url("wait", process))["Location"] == url("detail", process)
    assert mine.get(url("detail", process)).status_code == 200


def test_the_wait_page_never_leads_to_itself(mine, start):
    process = start()
    process.succeed(redirect_url=process.get_wait_url() + "?again=1")

    assert mine.get(url("wait", process))["Location"] == url("detail", process)


def test_a_deadline_that_has_passed_leads_on_and_is_stored(mine, start):
    process = start(max_duration=20, expires_in=-1, expired_url="/sorry/")

    assert mine.get(url("wait", process))["Location"] == "/sorry/"
    process.refresh_from_db()
    assert process.status == "expired"


def test_the_history_of_the_browser_is_restored_with_a_whole_page(mine, process):
    headers = {**HTMX, "HX-History-Restore-Request": "true"}

    assert b"</html>" in mine.get(url("wait", process), headers=headers).content
    assert mine.get(url("wait-fragment", process), headers=headers)["Location"] == url("wait", process)
    process.succeed()
    response = mine.get(url("wait", process), headers=headers)
    assert (response.status_code, response["Location"]) == (303, url("detail", process))


def test_a_success_on_the_status_page(mine, start):
    process = start(success_url="/orders/", unit="rows")
    process.set_progress(40)
    process.succeed({"imported": 40})
    page = mine.get(url("detail", process))
    html = page.content.decode()

    assert "Succeeded" in text(page)
    assert "40 rows" in text(page)
    assert 'max="1" value="1"' in html
    assert 'href="/orders/"' in html
    assert "&quot;imported&quot;: 40" in html
    assert "hx-get" not in html


def test_a_failure_on_the_status_page(mine, start):
    process = start(task=imports, status="running", attempt_token="t", total=100, current=100)
    process.fail(ValueError("/etc/secret"))
    page = mine.get(url("detail", process))
    html = page.content.decode()

    assert "Something went wrong on our side." in text(page)
    assert process.error_reference in text(page)
    assert "secret" not in html
    assert 'max="100" value="99"' in html
    assert "Try again" in text(page)
    assert 'data-may="retry"' in html


def test_a_failure_without_a_total_shows_no_bar(mine, start):
    process = start(current=1240, unit="rows")
    process.fail("The file is empty.")
    page = mine.get(url("detail", process))

    assert "<progress" not in page.content.decode()
    assert "1,240 rows" in text(page)
    assert "The file is empty." in text(page)


def test_what_was_tried_again_links_to_it(mine, start):
    process = start(task=imports)
    process.fail("It was empty.")
    again = process.retry()
    html = mine.get(url("detail", process)).content.decode()

    assert f'href="{again.get_absolute_url()}"' in html
    assert 'data-may=""' in html


def test_the_count_never_reaches_a_hundred_early(mine, start):
    page = mine.get(url("wait", start(total=1000, current=999.9)))

    assert "99 %" in text(page)
    assert 'value="99"' in page.content.decode()


def test_everything_typed_is_escaped(mine, start):
    process = start(SCRIPT, unit="<u>", kind="import", total=10)
    process.milestone("x", SCRIPT)
    process.set_message(SCRIPT, SCRIPT)
    process.set_result({"a": SCRIPT})
    pages = [mine.get(url(name, process)) for name in ("wait", "detail", "status-fragment", "wait-fragment")]
    pages += [
        mine.get(url("status-fragment", process, query)) for query in ("?as=bar", "?as=processing", "?dp-shown=x")
    ]
    pages += [mine.get(url("list")), mine.get(url("list-fragment", query="?dp-shown=x"))]
    process.fail(SCRIPT)
    pages += [mine.get(url("detail", process)), mine.get(url("list"))]
    for page in pages:
        assert "alert(" in page.content.decode()
        assert "<script>" not in page.content.decode()
        assert "<u>" not in page.content.decode()


@pytest.mark.parametrize(
    "unsafe",
    [
        "javascript:alert(1)",
        "//evil.example",
        "/\\evil.example",
        "/a\tb",
        "/a\r\nSet-Cookie: x=1",
        "https://evil.example",
    ],
)
def test_an_unsafe_url_that_got_into_the_database_gets_nowhere(mine, start, unsafe):
    process = start()
    process.succeed()
    Process.objects.filter(pk=process.pk).update(success_url=unsafe, redirect_url=unsafe)
    responses = [mine.get(url(name, process)) for name in ("wait", "detail", "status", "wait-fragment")]
    responses.append(mine.get(url("wait-fragment", process, "?dp-shown=x"), headers=HTMX))

    assert responses[0]["Location"] == responses[-1]["HX-Redirect"] == url("detail", process)
    for response in responses:
        everything = f"{response.headers} {response.content.decode()}"
        assert "evil" not in everything
        assert "alert" not in everything
        assert "x=1" not in everything


def test_more_than_the_total_is_an_unknown_share(mine, start):
    process = start(total=100, unit="rows", current=120, age=30, rate=1.0, samples=9)
    page = mine.get(url("wait", process))

    assert "120 rows" in text(page)
    assert "120 of 100" not in text(page)
    assert " %" not in text(page)
    assert " left" not in text(page)
    assert re.search(r"<progress[^>]* max=\"1\">", page.content.decode())
    Process.objects.filter(pk=process.pk).update(current=100)
    assert "100 %" in text(mine.get(url("wait", process)))


def test_what_nobody_has_taken_yet_has_not_started(mine, start):
    words = text(mine.get(url("detail", start(task=imports, max_duration=60))))
    assert "Requested" in words
    assert "Started" not in words
    assert "What has happened" not in words
    assert "Expires" in words

    words = text(mine.get(url("detail", start())))
    assert "Requested" in words
    assert "What has happened Started." in words
