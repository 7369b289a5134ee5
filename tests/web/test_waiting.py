"""The honest wait: who is ahead, whether anybody works, what went wrong, and how long it has been quiet."""

from __future__ import annotations

import html
import re

import pytest
from django.utils import timezone

from django_progress import engines, errors, presence
from django_progress.models import Attempt, Process

from .conftest import HTMX, imports, url
from .test_fragments import poll, polled

NOBODY = "No worker is taking this kind of work at the moment."
LONGER = "This is taking longer than usual; others took about 2 min."


@pytest.fixture
def worker(db):
    """A worker that takes the queue of these tests."""
    presence.note("worker@host", ["mail"])


@pytest.fixture
def pending(start):
    """Start a process that waits in a queue; ``after`` how the attempts before it ended."""

    def pending(after=(), **options):
        process = start(task=imports, **{"age": 20, "quiet": 20, "queue": "mail", **options})
        for number, (outcome, error) in enumerate(after, 1):
            ended = timezone.now()
            process.attempt_set.create(
                number=number, attempt_number=number, token=f"{process.pk}-{number}", started_at=ended,
                finished_at=ended, outcome=outcome, error=error,
            )  # fmt: skip
        return process

    return pending


@pytest.fixture
def running(start):
    """Start a process that executes, last heard of ``quiet`` seconds ago, with ``lease`` seconds to go."""

    def running(lease=60, cancel=False, **options):
        options = {"age": 600, "status": "running", "attempt_token": "t", "attempt_number": 1, **options}
        process = start(task=imports, **options)
        now = timezone.now()
        process.attempt_set.create(
            number=1, attempt_number=1, token="t", started_at=now,
            lease_until=now + timezone.timedelta(seconds=lease), cancel_requested_at=now if cancel else None,
        )  # fmt: skip
        return process

    return running


def notes(response) -> str:
    """Return what is said below how it stands."""
    found = re.findall(r'<p class="dp-notes">(.*?)</p>', response.content.decode())
    assert len(found) < 2
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", "".join(found))).split())


def shown(client, process, name="wait") -> str:
    return notes(client.get(url(name, process)))


def state(response) -> str:
    found = re.search(r'<p class="dp-state dp-is-(\w+)">(.*?)</p>', response.content.decode(), re.DOTALL)
    return f"{found[1]}: " + " ".join(re.sub(r"<[^>]+>", "", found[2]).split())


# -- in the queue --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, "It is next in the queue."),
        (1, "1 other is ahead of it in the queue."),
        (3, "3 others are ahead of it in the queue."),
    ],
)
@pytest.mark.parametrize("name", ["wait", "detail", "wait-fragment", "status-fragment"])
def test_how_many_are_ahead(mine, pending, worker, name, ahead, words):
    for _ in range(ahead):
        pending()
    assert shown(mine, pending(), name) == words


def test_the_block_that_waits_for_its_result_tells_it_too(mine, pending, worker):
    assert notes(mine.get(url("status-fragment", pending(), "?as=processing"))) == "It is next in the queue."


def test_more_than_anybody_wants_to_know(mine, pending, worker, monkeypatch):
    monkeypatch.setattr("django_progress.waiting.MOST", 1001)
    monkeypatch.setattr("django_progress.views.notes.MOST", 1001)
    row = pending()
    Process.objects.bulk_create(
        Process(queue="mail", task_name="x", created_at=row.created_at, updated_at=row.updated_at) for _ in range(1001)
    )
    assert shown(mine, pending()) == "More than 1,000 others are ahead of it in the queue."


def test_a_quick_start_is_not_talked_about(mine, pending):
    """Nobody listens, and nobody is ahead: but it has waited for three seconds only."""
    assert shown(mine, pending(age=3, quiet=3)) == ""
    presence.note("worker@host", ["mail"])
    assert shown(mine, pending(age=8, quiet=8, queue="mail")) == "1 other is ahead of it in the queue."
    Process.objects.all().delete()
    assert shown(mine, pending(age=8, quiet=8)) == ""


def test_that_nobody_works(mine, pending):
    process = pending(age=6, quiet=6)
    assert shown(mine, process) == f"{NOBODY} It stays in the queue and starts as soon as one does."
    presence.note("worker@host", ["bulk"])
    assert NOBODY in shown(mine, process)
    presence.note("worker@host", ["mail"])
    assert NOBODY not in shown(mine, process)


def test_the_wait_for_a_worker_begins_with_the_attempt(mine, pending):
    """What has just been handed on, or has become due by now, has not waited long, however old it is."""
    now = timezone.now()
    assert NOBODY not in shown(mine, pending(age=600, quiet=2))
    assert NOBODY not in shown(mine, pending(age=600, quiet=600, next_attempt_at=now))
    assert NOBODY in shown(mine, pending(age=600, quiet=600, next_attempt_at=now - timezone.timedelta(seconds=9)))


def test_nobody_has_to_work_before_its_time(mine, pending):
    pending()
    assert shown(mine, pending(next_attempt_at=timezone.now() + timezone.timedelta(seconds=30))) == ""


def test_eager_execution_says_nothing_of_workers(mine, pending, monkeypatch):
    monkeypatch.setattr(engines.get_engine(), "is_eager", lambda: True)
    assert shown(mine, pending()) == ""


def test_an_unknown_queue_says_nothing(mine, pending):
    assert shown(mine, pending(queue="")) == ""


# -- after an attempt ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        ("lost", errors.LOST, "The worker was lost."),
        ("timed_out", errors.TIMED_OUT, "It took too long."),
        ("failed", "Rows <b>4</b> & 5 are empty.", "Rows <b>4</b> & 5 are empty."),
        ("requeued", "", ""),
    ],
)
def test_what_went_wrong_while_it_waits_to_be_tried_again(mine, pending, worker, outcome, error, words):
    soon = timezone.now() + timezone.timedelta(seconds=30)
    process = pending([(outcome, error)], attempt_number=1, max_attempts=3, next_attempt_at=soon)
    response = mine.get(url("wait", process))

    assert notes(response) == words
    assert state(response) == "soon: Trying again in a moment (attempt 2 of 3)"
    assert "<b>4</b>" not in response.content.decode()


def test_what_went_wrong_comes_before_who_is_ahead(mine, pending, worker):
    pending()
    process = pending([("lost", errors.LOST)], attempt_number=1, max_attempts=3)
    assert shown(mine, process) == "The worker was lost. 1 other is ahead of it in the queue."


def test_what_went_wrong_is_forgotten_once_it_runs_again(mine, running):
    process = running(attempt_number=2, max_attempts=3)
    Attempt.objects.update(number=2, attempt_number=2)
    ended = timezone.now()
    process.attempt_set.create(
        number=1, attempt_number=1, token="u", started_at=ended, finished_at=ended, outcome="lost", error=errors.LOST
    )
    response = mine.get(url("wait", process))
    assert notes(response) == ""
    assert state(response) == "running: Running (attempt 2 of 3)"


# -- while it runs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet", "words"),
    [
        (29, ""),
        (31, "Still working; last news 30 s ago."),
        (59, "Still working; last news 30 s ago."),
        (61, "Still working; last news 1 min ago."),
        (299, "Still working; last news 4 min ago."),
        (7300, "Still working; last news 2 h 1 min ago."),
    ],
)
def test_how_long_it_has_been_quiet(mine, running, quiet, words):
    response = mine.get(url("wait", running(quiet=quiet)))
    assert notes(response) == words
    assert state(response) == "running: Running"


def test_what_has_no_task_may_be_quiet(mine, start):
    assert shown(mine, start(age=600, quiet=500)) == ""


def test_a_cancel_waits_for_the_next_report(mine, running):
    response = mine.get(url("wait", running(quiet=130, cancel=True)))
    assert notes(response) == "It stops when it next reports; its last news was 2 min ago."
    assert state(response) == "cancelling: Cancelling…"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_attempts": 3}, "If it doesn't come back, this will be tried again."),
        ({"max_attempts": 1}, "If it doesn't come back, this will end as failed."),
        ({"max_attempts": 3, "attempt_number": 3}, "If it doesn't come back, this will end as failed."),
    ],
)
def test_a_worker_gone_silent(mine, running, options, words):
    response = mine.get(url("wait", running(lease=-1, quiet=90, **options)))
    assert notes(response) == words
    assert state(response).startswith("silent: Its worker has gone silent")
    assert "dp-spin" not in response.content.decode()


def test_a_worker_gone_silent_while_it_is_cancelled(mine, running):
    response = mine.get(url("wait", running(lease=-1, cancel=True)))
    assert notes(response) == "Its worker has gone silent. If it doesn't come back, this will end as cancelled."
    assert state(response) == "cancelling: Cancelling…"


# -- polls ---------------------------------------------------------------------------------


def test_a_poll_sees_the_queue_move(mine, pending, worker):
    first, process = pending(quiet=70, age=70), pending(quiet=70, age=70)
    address = polled(mine.get(url("wait", process)))
    assert poll(mine, address).status_code == 204
    first.cancel()
    assert notes(poll(mine, address)) == "It is next in the queue."


def test_a_poll_sees_the_workers_go(mine, pending, worker):
    process = pending(quiet=70, age=70)
    address = polled(mine.get(url("wait", process)))
    presence.forget("worker@host")
    assert NOBODY in notes(poll(mine, address))


def test_a_poll_sees_the_silence(mine, running):
    process = running(quiet=100)
    address = polled(mine.get(url("wait", process)))
    assert poll(mine, address).status_code == 204
    Process.objects.update(updated_at=timezone.now() - timezone.timedelta(seconds=110))
    assert poll(mine, address).status_code == 204
    Process.objects.update(updated_at=timezone.now() - timezone.timedelta(seconds=125))
    assert notes(poll(mine, address)) == "Still working; last news 2 min ago."
    Attempt.objects.update(lease_until=timezone.now())
    assert state(poll(mine, address)) == "silent: Its worker has gone silent"


def test_none_of_it_is_announced(mine, pending, running, worker):
    said = set()
    for process in (pending(), pending(), running(quiet=10), running_again(running, quiet=100)):
        said.add(re.search(r'data-said="([^"]*)"', mine.get(url("wait", process)).content.decode())[1])
    assert len(said) == 1


def running_again(running, **options):
    Attempt.objects.update(token="before")
    return running(**options)


# -- longer than usual ---------------------------------------------------------------------


def took(start, *seconds):
    """Write down others of the same sort that have succeeded."""
    for length in seconds:
        process = start(task=imports)
        begun = timezone.now() - timezone.timedelta(seconds=5_000)
        Process.objects.filter(pk=process.pk).update(
            status="succeeded", due_at=None, created_at=begun, finished_at=begun + timezone.timedelta(seconds=length)
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"age": 200}, LONGER),
        ({"age": 170}, ""),
        ({"age": 200, "quiet": 40}, f"{LONGER} Still working; last news 30 s ago."),
        ({"age": 200, "cancel": True}, ""),
        ({"age": 200, "lease": -1}, "If it doesn't come back, this will end as failed."),
    ],
)
def test_what_takes_longer_than_usual_says_so(mine, start, running, options, said):
    took(start, 100, 120, 300)
    assert shown(mine, running(**options)) == said


def test_two_are_no_habit(mine, start, running):
    took(start, 100, 120)
    assert shown(mine, running(age=200)) == ""


# -- what it costs -------------------------------------------------------------------------


def test_a_poll_of_what_waits_takes_one_query_more(mine, pending, worker, django_assert_num_queries):
    pending()
    address = polled(mine.get(url("wait", pending(quiet=70, age=70))))
    with django_assert_num_queries(4):  # session, user, process, its wait
        assert poll(mine, address).status_code == 204


def test_a_poll_of_what_runs_takes_none_more(mine, running, django_assert_num_queries):
    address = polled(mine.get(url("wait", running(quiet=90))))
    with django_assert_num_queries(3):
        assert poll(mine, address).status_code == 204


def test_lists_and_bars_say_nothing_about_the_wait(mine, pending, running, worker, django_assert_num_queries):
    running(quiet=90)
    for _ in range(5):
        process = pending([("lost", errors.LOST)], attempt_number=1)
    with django_assert_num_queries(4):
        page = mine.get(url("list-fragment"))
    assert b"dp-notes" not in page.content
    with django_assert_num_queries(3):
        mine.get(url("status-fragment", process, "?as=bar"), headers=HTMX)


def test_the_list_says_that_a_worker_has_gone_silent(mine, running):
    running(lease=-1)
    assert "Its worker has gone silent" in mine.get(url("list")).content.decode()


def test_json(mine, pending, worker):
    pending()
    process = pending([("lost", errors.LOST)], attempt_number=1, max_attempts=3)
    assert mine.get(url("status", process)).json()["waiting"] == {
        "ahead": 1,
        "worker_listening": True,
        "after": {"outcome": "lost", "message": "The worker was lost."},
    }
