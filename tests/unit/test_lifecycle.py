"""The verbs: what each does, what it refuses, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy

from django_progress import signals
from django_progress.exceptions import (
    ProcessActive,
    ProcessCancelled,
    ProcessExpired,
    ProcessFinished,
    ProcessSuperseded,
    ProgressError,
    UnsafeURL,
)
from django_progress.models import Attempt, Event, Process
from django_progress.status import Outcome, Status
from tests.executing import claim, execute, fresh, inside, last_attempt, run_out, settle, start, types
from tests.invariants import check_invariants
from tests.races.threads import all_together

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

Capture = Callable[..., Any]


@pytest.fixture(autouse=True)
def invariants(db: None) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture
def process() -> Process:
    """One without a task, running."""
    return Process.objects.start("Waiting for the courier")


@contextmanager
def heard(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """Note what is sent, and what the process said of itself then."""
    calls: list[dict[str, Any]] = []

    def receive(**given: Any) -> None:
        calls.append({**given, "status": given["process"].status})

    signal.connect(receive)
    yield calls
    signal.disconnect(receive)


def overdue(process: Process) -> None:
    Process.objects.filter(pk=process.pk).update(expires_at=timezone.now() - timedelta(minutes=1))


# Reports


def test_milestone_is_an_event_and_the_row_shows_it(process: Process) -> None:
    process.milestone("labelled", "The label is printed", details={"printer": 3})
    row = fresh(process)
    assert (row.milestone_name, row.last_seq, row.revision) == ("labelled", 2, 2)
    event = Event.objects.get(process=process, seq=2)
    assert (event.type, event.name, event.text) == ("milestone", "labelled", "The label is printed")
    assert event.details == {"printer": 3}
    assert (process.last_milestone.name, process.last_seq, process.revision) == ("labelled", 2, 2)
    assert str(process.last_milestone) == "The label is printed"
    assert [milestone.name for milestone in process.milestones] == ["started", "labelled"]


def test_milestone_may_have_a_type_of_its_own(process: Process) -> None:
    process.milestone("checked", type="FraudCheckStarted")
    assert types(process) == ["milestone", "FraudCheckStarted"]
    assert [milestone.name for milestone in process.milestones] == ["started", "checked"]


@pytest.mark.parametrize(
    ("name", "way_out"), [("started", r"start\(\)"), ("done", r"succeed\(\)"), ("failed", r"fail\(\)")]
)
def test_reserved_milestones_name_the_verb_that_reaches_them(process: Process, name: str, way_out: str) -> None:
    with pytest.raises(ValueError, match=way_out):
        process.milestone(name)


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "nul\x00"])
def test_names_that_no_program_could_use_are_refused(process: Process, name: str) -> None:
    with pytest.raises(ValueError, match="64"):
        process.milestone(name)


@pytest.mark.parametrize("type", ["succeeded", "failed", "expired", "cancelled"])
def test_a_milestone_can_not_pose_as_an_end(process: Process, type: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        process.milestone("over", type=type)


def test_details_must_be_json(process: Process) -> None:
    with pytest.raises(TypeError, match="details"):
        process.milestone("x", details={"set": {1, 2}})


def test_message_is_replaced_in_place(process: Process) -> None:
    process.set_message("Stage", "Looking for regressions")
    process.set_message("Found", 3)
    process.set_message("Stage", "Looking for crashes")
    assert fresh(process).messages == [("Stage", "Looking for crashes"), ("Found", "3")]
    assert process.messages == fresh(process).messages


def test_message_of_another_instance_is_kept(process: Process) -> None:
    other = fresh(process)
    process.set_message("a", "1")
    other.set_message("b", "2")
    assert fresh(process).messages == [("a", "1"), ("b", "2")]


def test_too_many_messages_name_the_setting(process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"MAX_MESSAGES": 2}
    process.set_message("a", "")
    process.set_message("b", "")
    with pytest.raises(ValueError, match="MAX_MESSAGES"):
        process.set_message("c", "")
    process.set_message("a", "again")
    assert fresh(process).messages == [("a", "again"), ("b", "")]


def test_message_without_a_key_is_refused(process: Process) -> None:
    with pytest.raises(ValueError, match="key"):
        process.set_message(" ", "x")


def test_log(process: Process) -> None:
    process.log("Called", level="warning")
    event = Event.objects.get(process=process, seq=2)
    assert (event.type, event.message, event.details) == ("log", "Called", {"level": "warning"})
    with pytest.raises(ValueError, match="level"):
        process.log("Called", level="loud")


def test_result_may_be_replaced_while_it_runs(process: Process) -> None:
    process.set_result({"found": 1})
    process.set_result({"found": 2})
    assert fresh(process).result == {"found": 2} == process.result
    process.succeed()
    assert fresh(process).result == {"found": 2}


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, {"a": float("inf")}, b"bytes"])
def test_values_that_are_not_json_are_refused(process: Process, value: Any) -> None:
    with pytest.raises(TypeError, match="JSON"):
        process.set_result(value)
    with pytest.raises(TypeError, match="JSON"):
        process.succeed(value)
    assert fresh(process).status == Status.RUNNING


def test_circular_result_is_refused(process: Process) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="JSON"):
        process.succeed(value)


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil", "/a\r\nb"]
)
def test_it_leads_to_no_other_site(process: Process, url: str) -> None:
    with pytest.raises(UnsafeURL):
        process.redirect_to(url)
    with pytest.raises(UnsafeURL):
        process.succeed(redirect_url=url)
    # Written past the verbs, it is still not where anybody is led.
    Process.objects.filter(pk=process.pk).update(redirect_url=url)
    assert fresh(process).finished_url == process.get_absolute_url()


def test_it_leads_where_it_was_told_to(process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"ALLOWED_REDIRECT_HOSTS": ["shop.example"]}
    process.redirect_to("https://shop.example/{key}")
    assert process.finished_url == process.get_absolute_url()
    process.succeed()
    assert fresh(process).finished_url == f"https://shop.example/{process.key}"


# Ends


def test_succeed(process: Process) -> None:
    process.succeed({"parcel": 5}, redirect_url="/parcels/5/")
    row = fresh(process)
    assert (row.status, row.result, row.finished_url) == (Status.SUCCEEDED, {"parcel": 5}, "/parcels/5/")
    assert row.is_finished
    assert not row.is_active
    assert row.finished_at is not None
    assert types(process) == ["milestone", "succeeded"]
    assert process.status == Status.SUCCEEDED  # also the instance that did it


def test_fail_with_words(process: Process) -> None:
    process.fail("The courier is on strike.")
    row = fresh(process)
    assert (row.status, row.error, row.error_reference) == (Status.FAILED, "The courier is on strike.", "")
    assert Event.objects.get(process=process, type="failed").message == "The courier is on strike."


def test_fail_with_an_exception_tells_people_a_reference_and_staff_the_rest(process: Process) -> None:
    try:
        raise RuntimeError("password=hunter2")
    except RuntimeError as error:
        process.fail(error)
    row = fresh(process)
    assert "hunter2" not in row.error
    assert row.error_reference
    assert "hunter2" in row.error_detail
    event = Event.objects.get(process=process, type="failed")
    assert "hunter2" not in f"{event.message} {event.details}"
    assert event.details == {"reference": row.error_reference}


VERBS: list[Callable[[Process], Any]] = [
    lambda p: p.milestone("x"),
    lambda p: p.advance(),
    lambda p: p.set_progress(1, 2),
    lambda p: list(p.track([1])),
    lambda p: p.set_message("a", "b"),
    lambda p: p.log("x"),
    lambda p: p.set_result(1),
    lambda p: p.redirect_to("/x/"),
    lambda p: p.checkpoint(),
    lambda p: p.succeed(),
    lambda p: p.fail("x"),
    lambda p: p.expire(),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "expire"])
def test_a_finished_process_refuses_every_verb(process: Process, end: str, verb: Callable[[Process], Any]) -> None:
    getattr(process, end)(*(["x"] if end == "fail" else []))
    before = Process.objects.values().get(pk=process.pk)
    for instance in (process, fresh(process)):
        with pytest.raises(ProcessFinished, match="can't be changed any more"):
            verb(instance)
    assert Process.objects.values().get(pk=process.pk) == before


def test_cancelling_twice_is_harmless_and_cancelling_what_ended_otherwise_is_refused(process: Process) -> None:
    assert process.cancel() is True
    assert fresh(process).cancel() is True
    assert types(process) == ["milestone", "cancelled"]
    other = Process.objects.start("x")
    other.succeed()
    with pytest.raises(ProcessFinished):
        other.cancel()


def test_cancel_remembers_by_whom(process: Process) -> None:
    user = User.objects.create_user("ann")
    process.cancel(by=user)
    assert fresh(process).ended_by == user
    other = Process.objects.start("x")
    other.cancel(by=AnonymousUser())
    assert fresh(other).ended_by is None


def test_pending_is_cancelled_at_once() -> None:
    process = start()
    assert process.cancel() is True
    assert fresh(process).status == Status.CANCELLED


def test_remove_is_for_what_has_finished(process: Process) -> None:
    with pytest.raises(ProcessActive):
        process.remove()
    process.succeed()
    process.remove()
    assert not Process.objects.exists()
    assert not Event.objects.exists()
    process.remove()  # twice is harmless


def test_a_process_that_is_gone_refuses_politely(process: Process) -> None:
    Process.objects.all().delete()
    with pytest.raises(ProcessFinished):
        process.milestone("x")
    with pytest.raises(ProcessFinished):
        process.checkpoint()
    with pytest.raises(ProcessFinished):
        process.set_message("a", "b")


def test_save_is_refused(process: Process) -> None:
    process.description = "Changed"
    with pytest.raises(TypeError, match="verbs"):
        process.save()


# The deadline


def test_reading_honours_the_deadline_and_writes_nothing(process: Process) -> None:
    Process.objects.filter(pk=process.pk).update(success_url="/good/", expired_url="/late/")
    overdue(process)
    with CaptureQueriesContext(connection) as queries:
        row = Process.objects.with_now().get(pk=process.pk)
        assert row.shown_status == Status.EXPIRED
        assert not row.is_active
        assert row.is_finished
        assert not row.is_stopping
        assert row.eta is None
        assert row.finished_url == "/late/"
        assert row.snapshot().status == Status.EXPIRED
        assert list(Process.objects.overdue()) == [row]
    assert not [query["sql"] for query in queries if not query["sql"].lstrip().startswith("SELECT")]
    assert fresh(process).status == Status.RUNNING


def test_elapsed_ends_with_the_deadline(process: Process) -> None:
    Process.objects.filter(pk=process.pk).update(expires_at=process.created_at + timedelta(seconds=20))
    row = fresh(process)
    row.__dict__["db_now"] = process.created_at + timedelta(seconds=8)
    assert row.elapsed == 8
    row.__dict__["db_now"] = process.created_at + timedelta(hours=1)
    assert row.elapsed == 20


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb is not VERBS[-1]])
def test_verbs_store_the_expiry(process: Process, verb: Callable[[Process], Any]) -> None:
    overdue(process)
    with pytest.raises(ProcessFinished):
        verb(process)
    assert fresh(process).status == Status.EXPIRED
    assert types(process) == ["milestone", "expired"]


def test_too_late_to_cancel(process: Process) -> None:
    overdue(process)
    with pytest.raises(ProcessFinished):
        process.cancel()
    assert fresh(process).status == Status.EXPIRED


def test_expiry_is_noticed_in_a_body() -> None:
    for verb in (lambda p: p.milestone("x"), lambda p: p.checkpoint(), lambda p: p.set_message("a", "b")):
        process = start(max_duration=20)
        executing = claim(process)
        overdue(process)
        assert isinstance(settle(executing, verb), ProcessExpired)
        assert fresh(process).status == Status.EXPIRED
        assert last_attempt(process).outcome == Outcome.EXPIRED


# Stopping


def test_a_running_task_is_asked_and_stops_at_its_next_report() -> None:
    process = start()
    executing = claim(process)
    user = User.objects.create_user("ann")
    viewer = fresh(process)
    assert viewer.cancel(by=user) is False
    assert viewer.cancel() is False  # asking twice is harmless
    assert fresh(process).is_stopping
    assert fresh(process).status == Status.RUNNING
    assert isinstance(settle(executing, lambda p: p.milestone("next")), ProcessCancelled)
    row = fresh(process)
    assert (row.status, row.ended_by) == (Status.CANCELLED, user)
    assert not row.is_stopping
    assert last_attempt(process).outcome == Outcome.CANCELLED
    assert types(process) == ["milestone", "attempt", "cancel_requested", "milestone", "cancelled"]


@pytest.mark.parametrize(
    "report",
    [
        lambda p: p.milestone("x"),
        lambda p: p.set_message("a", "b"),
        lambda p: p.log("x"),
        lambda p: p.set_result(1),
        lambda p: p.set_progress(1, 2),
        lambda p: p.checkpoint(),
        lambda p: p.requeue(),
        lambda p: p.attempt(lambda: True),
        lambda p: list(p.track([1, 2])),
    ],
)
def test_no_report_outlives_a_request_to_cancel(report: Callable[[Process], Any]) -> None:
    process = start()
    executing = claim(process)
    fresh(process).cancel()

    def body(process: Process) -> str:
        try:
            report(process)
        except Exception as error:  # what careless bodies do
            return f"swallowed {error!r}"
        return "not stopped"

    assert isinstance(settle(executing, body), ProcessCancelled)
    assert fresh(process).status == Status.CANCELLED


def test_a_message_that_was_written_stays_written_when_the_body_is_stopped_by_it() -> None:
    process = start()
    executing = claim(process)
    fresh(process).cancel()
    settle(executing, lambda p: p.set_message("Stage", "Packing"))
    assert fresh(process).messages == [("Stage", "Packing")]


def test_a_body_that_returns_all_the_same_has_succeeded_and_says_so() -> None:
    process = start()
    executing = claim(process)
    fresh(process).cancel()
    settle(executing, lambda p: {"found": 1})
    row = fresh(process)
    assert (row.status, row.result) == (Status.SUCCEEDED, {"found": 1})
    event = Event.objects.get(process=process, type="succeeded")
    assert event.details == {"cancel_requested": True}
    assert "before it could be cancelled" in event.text


def test_a_body_that_was_not_asked_to_cancel_does_not_say_so() -> None:
    process = start()
    execute(process, lambda p: 1)
    event = Event.objects.get(process=process, type="succeeded")
    assert (event.text, event.details) == ("Finished.", None)


def test_force_does_not_wait() -> None:
    process = start()
    executing = claim(process)
    assert fresh(process).cancel(force=True) is True
    assert fresh(process).status == Status.CANCELLED
    assert isinstance(settle(executing, lambda p: p.log("still here")), ProcessCancelled)
    assert types(process) == ["milestone", "attempt", "cancelled"]


@pytest.mark.django_db(transaction=True)
def test_asking_to_cancel_does_not_wait_for_a_report_that_holds_the_row() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database locks no rows.")
    process = start()
    executing = claim(process)
    held, asked = threading.Event(), threading.Event()

    def report() -> bool:
        with transaction.atomic():
            executing.process.milestone("halfway")
            held.set()
            return asked.wait(5)

    def cancel() -> tuple[bool, bool]:
        assert held.wait(30)
        over = fresh(process).cancel()
        stored = last_attempt(process).cancel_requested_at is not None
        asked.set()
        return over, stored

    assert all_together(report, cancel) == [True, (False, True)]
    # The log says nothing of it, because the row was held; the body is stopped all the same.
    assert "cancel_requested" not in types(process)
    settle(executing, lambda p: p.checkpoint())
    assert fresh(process).status == Status.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_asking_to_cancel_what_is_overdue_does_not_wait_either() -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database locks no rows.")
    process = start(max_duration=60)
    claim(process)
    Process.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    held, asked = threading.Event(), threading.Event()

    def hold() -> bool:
        with transaction.atomic():
            Process.objects.select_for_update().get()
            held.set()
            return asked.wait(5)

    def cancel() -> bool:
        assert held.wait(30)
        over = fresh(process).cancel()
        asked.set()
        return over

    assert all_together(hold, cancel) == [True, False]
    with pytest.raises(ProcessFinished):
        fresh(process).cancel()
    assert types(process)[-1] == Status.EXPIRED


def test_what_stops_a_body_is_no_exception() -> None:
    for stop in (ProcessCancelled, ProcessExpired, ProcessSuperseded):
        assert not issubclass(stop, Exception)


def test_a_process_held_by_an_attempt_that_is_closed_can_be_cancelled() -> None:
    # Nothing leaves one behind, but cancel() must not go round for ever if something does.
    process = start()
    claim(process)
    Attempt.objects.update(outcome=Outcome.LOST, finished_at=timezone.now())
    assert process.cancel() is True


# Fencing


def test_another_instance_in_the_body_carries_the_token_too() -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    with inside(executing):
        fresh(process).milestone("mine")
    _supersede(process)
    for report in (lambda p: fresh(p).milestone("x"), lambda p: fresh(p).checkpoint(), lambda p: fresh(p).fail("x")):
        with inside(executing), pytest.raises(ProcessSuperseded):
            report(process)
    assert fresh(process).milestone_name == "mine"
    assert fresh(process).status == Status.RUNNING


def _supersede(process: Process) -> None:
    from django_progress.sweep import sweep

    run_out()
    assert sweep()["lost"] == 1
    claim(process)


def test_outside_of_the_body_the_status_alone_guards() -> None:
    process = start()
    claim(process)
    fresh(process).milestone("from-a-view")
    assert fresh(process).milestone_name == "from-a-view"


def test_another_process_in_the_body_is_not_fenced(process: Process) -> None:
    work = start()
    with inside(claim(work)):
        fresh(process).milestone("beside")
        process.succeed()
    assert fresh(process).status == Status.SUCCEEDED
    assert fresh(work).status == Status.RUNNING


def test_last_milestone_in_a_body_is_the_one_at_which_it_began() -> None:
    process = start()
    seen = []

    def body(process: Process) -> None:
        process.milestone("next")
        seen.append((process.last_milestone.name, fresh(process).last_milestone.name, process.reached.name))

    execute(process, body)
    assert seen == [("started", "started", "next")]
    assert fresh(process).last_milestone.name == "next"


def test_asking_for_an_execution_outside_of_one_is_refused(process: Process) -> None:
    with pytest.raises(ProgressError, match=r"requeue\(\) says how an execution ends"):
        process.requeue()
    with pytest.raises(ProgressError, match=r"attempt\(\) says how an execution ends"):
        process.attempt(lambda: True)


# Signals


def test_milestones_and_ends_are_told_after_the_commit(
    process: Process, django_capture_on_commit_callbacks: Capture
) -> None:
    with (
        heard(signals.milestone_reached) as milestones,
        heard(signals.process_finished) as ends,
        django_capture_on_commit_callbacks(execute=True),
    ):
        process.milestone("labelled")
        process.succeed(5)
        assert milestones == ends == []
    assert [(call["sender"], call["name"], call["seq"]) for call in milestones] == [(Process, "labelled", 2)]
    assert [(call["sender"], call["status"]) for call in ends] == [(Process, Status.SUCCEEDED)]


@pytest.mark.django_db(transaction=True)
def test_receivers_see_the_process_as_it_ended(process: Process) -> None:
    seen = []

    def receive(process: Process, **kwargs: Any) -> None:
        seen.append((process.status, process.result, process.finished_at is not None, process.last_milestone.name))

    signals.process_finished.connect(receive)
    try:
        process.milestone("labelled")
        process.succeed(5)
        work = start()
        execute(work, lambda p: p.milestone("worked") or 6)
    finally:
        signals.process_finished.disconnect(receive)
    assert seen == [(Status.SUCCEEDED, 5, True, "labelled"), (Status.SUCCEEDED, 6, True, "worked")]


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_or_reports_does_no_harm() -> None:
    def receive(process: Process, **kwargs: Any) -> None:
        process.milestone("too-late")

    process = start()
    signals.process_finished.connect(receive)
    try:
        assert execute(process, lambda p: p.succeed()) is None
    finally:
        signals.process_finished.disconnect(receive)
    assert fresh(process).status == Status.SUCCEEDED


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told(process: Process) -> None:
    def end_in_vain() -> None:
        with transaction.atomic():
            process.milestone("x")
            process.succeed()
            raise ZeroDivisionError

    with (
        heard(signals.milestone_reached) as milestones,
        heard(signals.process_finished) as ends,
        pytest.raises(ZeroDivisionError),
    ):
        end_in_vain()
    assert milestones == ends == []
    assert fresh(process).status == Status.RUNNING
    assert types(process) == ["milestone"]


def test_a_milestone_that_stops_the_body_is_told_too(django_capture_on_commit_callbacks: Capture) -> None:
    process = start()
    executing = claim(process)
    fresh(process).cancel()
    with heard(signals.milestone_reached) as calls, django_capture_on_commit_callbacks(execute=True):
        settle(executing, lambda p: p.milestone("last"))
    assert [call["name"] for call in calls] == ["last"]


# Languages


def test_lazy_words_are_read_in_the_viewers_language(process: Process) -> None:
    with translation.override("de"):
        process.milestone("x", gettext_lazy("Yes"))
        process.log(gettext_lazy("No"))
    with translation.override("fr"):
        row = fresh(process)
        assert str(row.reached) == "Oui"
        assert [event.text for event in row.event_set.after(1)] == ["Oui", "Non"]
        assert row.snapshot().milestones[-1].message == "Oui"
    with translation.override("de"):
        assert str(fresh(process).reached) == "Ja"


def test_lazy_words_take_their_parameters_when_read(process: Process) -> None:
    process.milestone("x", gettext_lazy("Please enter a valid %(field)s."), details={"field": "URL"})
    with translation.override("en"):
        assert str(fresh(process).reached) == "Please enter a valid URL."


def test_plain_words_are_shown_as_they_are(process: Process) -> None:
    process.milestone("x", "Yes 100% %(sure)s", details={"sure": 1})
    with translation.override("de"):
        assert str(fresh(process).reached) == "Yes 100% %(sure)s"


# The cap


def test_past_the_cap_milestones_and_ends_are_kept(process: Process, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"MAX_EVENTS": 5}
    for number in range(50):
        process.log(f"line {number}")
        process.set_message("Line", number)
        process.set_result(number)
    assert fresh(process).last_seq == 5
    assert fresh(process).messages == [("Line", "49")]
    assert fresh(process).result == 49
    assert fresh(process).snapshot().truncated
    process.milestone("kept")
    process.succeed()
    assert types(process)[-2:] == ["milestone", "succeeded"]
    assert fresh(process).last_seq == 7


def test_a_log_line_past_the_cap_still_stops_the_body(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"MAX_EVENTS": 1}
    process = start()
    executing = claim(process)
    fresh(process).cancel()
    assert isinstance(settle(executing, lambda p: p.log("x")), ProcessCancelled)


# Asynchronous twins


@pytest.mark.django_db(transaction=True)
def test_twins() -> None:
    async def live() -> Process:
        process = await Process.objects.astart("From asynchronous code")
        await process.amilestone("one", "First")
        await process.aset_message("Stage", "Second")
        await process.alog("third")
        await process.aadvance(2)
        await process.aset_progress(3, 4)
        await process.aset_result({"a": 1})
        await process.aredirect_to("/there/")
        await process.acheckpoint()
        await process.asucceed({"b": 2})
        return process

    process = async_to_sync(live)()
    row = fresh(process)
    assert (row.status, row.result, row.current, row.total) == (Status.SUCCEEDED, {"b": 2}, 3, 4)
    assert row.finished_url == "/there/"

    async def others() -> None:
        failed = await Process.objects.astart("x")
        await failed.afail("no")
        cancelled = await Process.objects.astart("y")
        assert await cancelled.acancel() is True
        await cancelled.aremove()

    async_to_sync(others)()
    assert set(Process.objects.values_list("status", flat=True)) == {Status.SUCCEEDED, Status.FAILED}


def test_twins_carry_the_token() -> None:
    process = start(max_attempts=2)
    executing = claim(process)
    _supersede(process)
    with inside(executing), pytest.raises(ProcessSuperseded):
        async_to_sync(fresh(process).amilestone)("late")


def test_twins_are_documented() -> None:
    assert Process.amilestone.__doc__ == Process.milestone.__doc__
    assert Process.amilestone.__name__ == "amilestone"


# Threads


@pytest.mark.django_db(transaction=True)
def test_threads_of_a_body_carry_its_token_and_lose_no_count() -> None:
    process = start(max_attempts=2)
    executing = claim(process)

    def body(process: Process) -> None:
        def count() -> None:
            try:
                for _ in range(250):
                    process.advance()
            finally:
                connection.close()

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    settle(executing, body)
    assert fresh(process).current == 1000

    process = start(max_attempts=2)
    executing = claim(process)
    _supersede(process)
    raised: list[BaseException] = []

    def report() -> None:
        try:
            executing.process.milestone("late")
        except BaseException as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=report)
    thread.start()
    thread.join()
    assert [type(error) for error in raised] == [ProcessSuperseded]


@pytest.mark.parametrize("details", [["a"], "text", 5])
def test_details_are_a_mapping(details: Any) -> None:
    process = Process.objects.start("x")
    with pytest.raises(TypeError, match="details must be a mapping"):
        process.milestone("one", details=details)
