"""When the word is sent that a process has changed: after the commit, and only if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction

from django_progress import nudges, owning, sharing
from django_progress.exceptions import ProcessFinished
from django_progress.models import Process
from django_progress.push import sending
from tests.executing import claim, inside, run_out, settle, start
from tests.races.threads import elsewhere
from tests.unit.test_visitors import browser

connection = connections["default"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

parallel = pytest.mark.skipif(
    "sqlite" in str(connections.settings["default"]["ENGINE"]), reason="SQLite has one writer: there hints wait."
)


class Notebook(list[str]):
    """A sender that only notes the words."""

    def send(self, word: str) -> None:
        self.append(word)

    def take(self) -> list[str]:
        words = list(self)
        self.clear()
        return words


@pytest.fixture
def words() -> Iterator[Notebook]:
    notebook = Notebook()
    nudges.register(notebook)
    yield notebook
    sending.follow()


@pytest.fixture
def body(words: Notebook) -> Iterator[Process]:
    """The process whose body this test is."""
    with inside(claim(start(total=100))) as process:
        words.clear()
        yield process


def flushed(process: Process) -> None:
    process._ticks().added = 7.0
    process.checkpoint()


HINTS: dict[str, Callable[[Process], Any]] = {
    "numbers": flushed,
    "set_message": lambda process: process.set_message("Stage", "Seventh"),
    "log": lambda process: process.log("Seven"),
}
REPORTS: dict[str, Callable[[Process], Any]] = {
    "milestone": lambda process: process.milestone("halfway"),
    "set_result": lambda process: process.set_result(1),
    "redirect_to": lambda process: process.redirect_to("/here/"),
    "succeed": lambda process: process.succeed(),
    "fail": lambda process: process.fail("No."),
    "expire": lambda process: process.expire(),
    "cancel": lambda process: process.cancel(),
    "force": lambda process: process.cancel(force=True),
}


@pytest.mark.parametrize("verb", HINTS | REPORTS)
def test_every_write_says_so(verb: str, body: Process, words: Notebook) -> None:
    (HINTS | REPORTS)[verb](body)
    assert set(words) == {str(body.pk)}


def test_a_life(words: Notebook) -> None:
    process = start(max_attempts=2)
    mine = [str(process.pk)]
    assert words.take() == mine
    executing = claim(process)
    assert words.take() == mine
    settle(executing, lambda process: 1 / 0)
    assert set(words.take()) == set(mine)
    process.cancel()
    assert words.take() == mine
    again = process.retry()
    assert words.take() == [str(again.pk)]
    process.remove()
    assert words.take() == mine
    with pytest.raises(ProcessFinished):
        process.cancel()
    assert words == []


def test_a_process_without_a_task(words: Notebook) -> None:
    process = Process.objects.start("By hand")
    process.milestone("one")
    process.succeed()
    assert words == [str(process.pk)] * 3


def test_who_lost_its_lease_is_told_of(words: Notebook) -> None:
    from django_progress.sweep import sweep

    process = start()
    claim(process)
    words.clear()
    run_out()
    sweep()
    assert str(process.pk) in words


def test_what_is_refused_says_nothing(words: Notebook) -> None:
    process = Process.objects.start("By hand")
    process.succeed()
    words.clear()
    with pytest.raises(ProcessFinished):
        process.milestone("late")
    assert words == []


@pytest.mark.parametrize("verb", REPORTS)
def test_a_report_is_told_of_when_it_is_committed(verb: str, body: Process, words: Notebook) -> None:
    with transaction.atomic():
        REPORTS[verb](body)
        assert words == []
    assert set(words) == {str(body.pk)}


@pytest.mark.parametrize("verb", REPORTS)
def test_what_is_rolled_back_is_never_told(verb: str, body: Process, words: Notebook) -> None:
    with transaction.atomic():
        REPORTS[verb](body)
        transaction.set_rollback(True)
    with transaction.atomic(), transaction.atomic():
        Process.objects.start("Another")
        transaction.set_rollback(True)
    assert words == []


def test_starts_are_told_of_when_they_are_committed(words: Notebook) -> None:
    with transaction.atomic():
        first, second = start(), Process.objects.start("By hand")
        assert words == []
    assert words.take() == [str(first.pk), str(second.pk)]
    with transaction.atomic():
        start()
        transaction.set_rollback(True)
    assert words == []


@parallel
@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_beside_the_caller_is_told_of_at_once(hint: str, body: Process, words: Notebook) -> None:
    """It is committed on the second connection, whatever becomes of the caller's transaction."""
    with transaction.atomic():
        HINTS[hint](body)
        assert set(words.take()) == {str(body.pk)}
        transaction.set_rollback(True)
    assert words == []


@parallel
def test_a_hint_that_has_to_be_the_callers_waits_for_its_commit(body: Process, words: Notebook) -> None:
    with transaction.atomic():
        body.milestone("touched")
        body.log("the row is held")
        assert words == []
    assert set(words) == {str(body.pk)}


@parallel
def test_a_request_to_cancel_is_told_of_while_a_report_holds_the_row(body: Process, words: Notebook) -> None:
    """Nothing can be written to the process then; the request itself is stored, and people are to see it."""
    with transaction.atomic():
        body.milestone("held")
        assert elsewhere(Process.objects.get(pk=body.pk).cancel) is False
        assert words == [str(body.pk)]


# Who may see it


def test_sharing(words: Notebook) -> None:
    process, ben = Process.objects.start("Shared"), User.objects.create_user("ben")
    access = [f"access {process.pk}"]
    words.clear()
    sharing.share(process, ben)
    assert words.take() == access
    sharing.share(process, ben)
    assert words.take() == []
    sharing.unshare(process, ben)
    assert words.take() == access
    sharing.unshare(process, ben)
    sharing.revoke_share_urls(process)
    sharing.get_share_url(process)
    assert words.take() == []
    with transaction.atomic():
        sharing.revoke_share_urls(process)
        assert words == []
    assert words.take() == access


def test_a_login_that_adopts(words: Notebook) -> None:
    request = browser()
    process = Process.objects.start("Flights", request=request)
    words.clear()
    owning.adopt(None, request, User.objects.create_user("ann"))
    assert words == [f"access {process.pk}"]


# What it costs the writer


def test_without_wake_ups_nothing_is_registered(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {}
    process = Process.objects.start("By hand")
    with transaction.atomic():
        process.milestone("one")
        assert connection.run_on_commit == []
    settings.DJANGO_PROGRESS = {"WAKE_UPS": "redis://localhost"}
    with transaction.atomic():
        process.milestone("two")
        assert len(connection.run_on_commit) == 1
        transaction.set_rollback(True)


@pytest.mark.parametrize("given", [["WAKE_UPS"], None, {"WAKE_UPS": None}])
def test_settings_that_are_wrong_stop_nothing(settings: Any, given: Any) -> None:
    settings.DJANGO_PROGRESS = given
    settings.DJANGO_PROGRESS = {}
    Process.objects.start("By hand").succeed()


def test_a_sender_that_fails_hurts_nobody(words: Notebook, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def send(self, word: str) -> None:
            raise ConnectionError("It is broken.")

    nudges.register(Broken())
    with transaction.atomic():
        process = Process.objects.start("By hand")
    process.succeed()
    assert Process.objects.get(pk=process.pk).is_finished
    assert "could not be passed on" in caplog.text


def test_a_caller_who_commits_by_himself(words: Notebook) -> None:
    """Django tells nobody of such a commit, and refuses to be asked to."""
    process = Process.objects.start("By hand")
    words.clear()
    connection.set_autocommit(False)
    try:
        process.milestone("one")
        connection.commit()
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    assert Process.objects.get(pk=process.pk).last_milestone.name == "one"
    assert set(words) <= {str(process.pk)}
