"""How processes come to be, once and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import reverse_lazy
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy

from django_progress import clock, engines, signals
from django_progress.exceptions import IdempotencyConflict, ProcessActive, RetryNotPossible, UnsafeURL
from django_progress.models import Event, Process
from django_progress.status import Status
from django_progress.tasks import progress_task
from tests.executing import Work, execute, fresh, start
from tests.invariants import check_invariants
from tests.races.threads import together
from tests.unit.conftest import FakeEngine

pytestmark = pytest.mark.django_db

Capture = Callable[..., Any]


@pytest.fixture(autouse=True)
def invariants(db: None, engine: FakeEngine) -> Iterator[None]:
    yield
    check_invariants()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


def request_of(user: Any = None, *, session: bool = False, **headers: str) -> HttpRequest:
    request = RequestFactory().post("/search/", headers=headers)
    request.user = user or AnonymousUser()
    request.session = SessionStore()
    if session:
        request.session.create()
    return request


# What it begins with


def test_without_a_task_it_runs_at_once() -> None:
    process = Process.objects.start("Waiting for the courier…", max_duration=20)
    row = fresh(process)
    assert (row.status, row.last_seq, row.revision, row.milestone_name) == (Status.RUNNING, 1, 1, "started")
    assert row.started_at == row.created_at
    assert row.expires_at == row.created_at + timedelta(seconds=20)
    assert row.due_at is None
    event = Event.objects.get(process=process)
    assert (event.seq, event.type, event.name, event.text) == (1, "milestone", "started", "Started.")


def test_with_a_task_it_waits_for_a_worker() -> None:
    process = start(max_attempts=3, retry_delay=timedelta(seconds=5), attempt_timeout=60, lease=30)
    row = fresh(process)
    assert (row.status, row.task_name, row.task_id) == (Status.PENDING, "tests.work", process.task_id)
    assert row.started_at is None
    assert row.due_at is not None
    assert (row.max_attempts, row.retry_delay, row.attempt_timeout, row.lease) == (3, 5, 60, 30)


def test_what_is_given_overrides_what_is_declared() -> None:
    task = Work(kind="report", max_attempts=3, unit="rows", description="Declared")
    process = Process.objects.start(task=task, kind="nightly", args=(1,), kwargs={"a": 2}, context={"c": 3})
    row = fresh(process)
    assert (row.kind, row.max_attempts, row.unit, row.description) == ("nightly", 3, "rows", "Declared")
    assert (row.task_args, row.task_kwargs, row.context) == ([1], {"a": 2}, {"c": 3})


def test_lazy_descriptions_are_read_in_the_viewers_language() -> None:
    with translation.override("de"):
        process = Process.objects.start(gettext_lazy("Yes"))
    with translation.override("fr"):
        assert fresh(process).title == str(fresh(process)) == "Oui"
    described = Process.objects.start(gettext_lazy("Please enter a valid %(field)s."), details={"field": "URL"})
    with translation.override("en"):
        assert fresh(described).title == "Please enter a valid URL."


def test_urls_may_be_lazy_and_hold_the_key() -> None:
    process = Process.objects.start("x", success_url=reverse_lazy("admin:index"), redirect_url="/parcels/{key}/")
    assert process.success_url == "/admin/"
    process.fail("x")
    assert fresh(process).finished_url == f"/parcels/{process.key}/"


def test_lazy_urls_of_a_task_are_not_looked_at_while_modules_load() -> None:
    looked: list[str] = []

    def look() -> str:
        looked.append("too early")
        return "/there/"

    from django.utils.functional import lazy

    def search(process: Process) -> None: ...

    task = progress_task(success_url=lazy(look, str)(), name="test.lazy_url")(search)
    assert looked == []
    assert task.using(kind="x")
    assert looked == []
    assert task.start(None).success_url == "/there/"


def test_an_absolute_url_of_this_site_becomes_a_path(settings: Any) -> None:
    process = Process.objects.start("x", request=request_of(), redirect_url="http://testserver/there/?a=1")
    assert process.redirect_url == "/there/?a=1"


# For whom


def test_the_user_who_is_logged_in_becomes_the_owner(user: User) -> None:
    assert Process.objects.start("x", request=request_of(user)).owner == user
    assert Process.objects.start("x", request=request_of()).owner is None
    assert Process.objects.start("x", owner=user).owner == user
    assert Process.objects.start("x", request=request_of(), owner=user).owner == user


def test_an_anonymous_owner_is_told_about_request() -> None:
    with pytest.raises(TypeError, match="request=request"):
        Process.objects.start("x", owner=AnonymousUser())


@pytest.mark.parametrize("owner", [5, "ann", User(username="unsaved")])
def test_an_owner_is_a_saved_user(owner: Any) -> None:
    with pytest.raises(TypeError, match="saved user"):
        Process.objects.start("x", owner=owner)


# Bad input


def test_a_name_that_only_some_databases_have_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Work()
    long.name = "x" * 256
    with pytest.raises(ValueError, match="The name of the task has 256 characters, 255 at most: xxx"):
        Process.objects.start("x", task=long)
    monkeypatch.setattr(engines.get_engine(), "queue_for", lambda *args: "q" * 300)
    with pytest.raises(ValueError, match="The name of the queue has 300 characters"):
        Process.objects.start("x", task=Work())
    assert not Process.objects.exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"total": -1}, ValueError, "total must be between"),
        ({"total": float("nan")}, ValueError, "total must be between"),
        ({"total": True}, TypeError, "total must be a number"),
        ({"max_duration": 0}, ValueError, "max_duration must"),
        ({"max_duration": -5}, ValueError, "max_duration must"),
        ({"max_duration": float("nan")}, ValueError, "max_duration must"),
        ({"max_duration": float("inf")}, ValueError, "max_duration must"),
        ({"max_duration": "60"}, TypeError, "seconds or a timedelta"),
        ({"max_duration": datetime(2030, 1, 1)}, TypeError, "seconds or a timedelta"),  # noqa: DTZ001
        ({"max_duration": timedelta(days=10_000)}, ValueError, "ten years"),
        ({"attempt_timeout": 0}, ValueError, "attempt_timeout must"),
        ({"lease": 0}, ValueError, "lease must"),
        ({"retry_delay": -1}, ValueError, "retry_delay must"),
        ({"max_attempts": 0}, ValueError, "max_attempts must"),
        ({"max_attempts": 2.5}, TypeError, "max_attempts must be an int"),
        ({"kind": "two words"}, ValueError, "kind must be a slug"),
        ({"context": {1, 2}}, TypeError, "context can't be stored as JSON"),
        ({"context": {"a": float("nan")}}, TypeError, "context can't be stored as JSON"),
        ({"redirect_url": "https://evil.example/"}, UnsafeURL, "ALLOWED_REDIRECT_HOSTS"),
        ({"success_url": "//evil.example"}, UnsafeURL, "success_url"),
        ({"failure_url": "javascript:alert(1)"}, UnsafeURL, "failure_url"),
        ({"task": len}, TypeError, "@progress_task"),
        ({"args": [1]}, TypeError, "give the task too"),
        ({"task": Work(), "args": [object()]}, TypeError, "args can't be stored as JSON"),
        ({"idempotency_key": " "}, ValueError, "idempotency key"),
        ({"idempotency_key": b"x"}, TypeError, "idempotency key"),
    ],
)
def test_bad_input_is_refused_in_clear_words(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Process.objects.start("x", **options)
    assert not Process.objects.exists()


@pytest.mark.parametrize("hours", [-1, 1])
def test_times_are_the_databases(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """Fault 39: the clock of the web server is wrong."""
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(hours=hours))
    before = clock.read("default")
    waiting, running = fresh(start(max_duration=60)), fresh(Process.objects.start("x", max_duration=60))
    execute(waiting, lambda p: p.fail("x"))
    again = fresh(fresh(waiting).retry())
    after = clock.read("default")
    for process in (waiting, running, again):
        assert before <= process.created_at <= after
        assert process.expires_at == process.created_at + timedelta(seconds=60)
        assert process.event_set.get(seq=1).happened_at == process.created_at
    assert running.started_at == running.created_at
    for process in (waiting, again):
        assert process.due_at is not None
        assert before < process.due_at < after + timedelta(minutes=10)


# In a transaction (I6)


@pytest.mark.django_db(transaction=True)
def test_a_start_that_is_rolled_back_leaves_nothing(engine: FakeEngine) -> None:
    told: list[Any] = []

    def receive(process: Process, **kwargs: Any) -> None:
        told.append(process)

    def start_in_vain() -> None:
        with transaction.atomic():
            start()
            raise ZeroDivisionError

    signals.process_started.connect(receive)
    try:
        with pytest.raises(ZeroDivisionError):
            start_in_vain()
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError):
                start_in_vain()  # the inner savepoint, fault 20
            kept = start()
    finally:
        signals.process_started.disconnect(receive)
    assert list(Process.objects.all()) == [kept]
    assert Event.objects.count() == 1
    assert engine.published == [kept.task_id]
    assert told == [kept]


def test_it_is_told_before_the_message_is_sent(engine: FakeEngine, django_capture_on_commit_callbacks: Capture) -> None:
    seen: list[tuple[str, list[str]]] = []

    def receive(process: Process, **kwargs: Any) -> None:
        seen.append((process.status, list(engine.published)))

    signals.process_started.connect(receive)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            start()
    finally:
        signals.process_started.disconnect(receive)
    assert seen == [(Status.PENDING, [])]
    assert len(engine.published) == 1


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_raises_does_not_keep_the_message_back(engine: FakeEngine) -> None:
    def receive(**kwargs: Any) -> None:
        raise RuntimeError

    signals.process_started.connect(receive)
    try:
        process = start()
    finally:
        signals.process_started.disconnect(receive)
    assert engine.published == [process.task_id]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_raises_keeps_neither_the_start_nor_other_hooks_back(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def broken(*args: Any, **kwargs: Any) -> bool:
        ran.append("ours")
        raise RuntimeError("an engine that breaks its word")

    monkeypatch.setattr(engine, "publish", broken)
    with transaction.atomic():
        process = start()
        transaction.on_commit(lambda: ran.append("theirs"))
    assert ran == ["ours", "theirs"]
    # The sweep finds it.
    assert fresh(process).status == Status.PENDING
    assert fresh(process).due_at is not None


def test_nothing_that_could_execute_it_is_said_clearly() -> None:
    from django.core.exceptions import ImproperlyConfigured

    engines.register(None)
    with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
        start()


def test_asynchronously(django_capture_on_commit_callbacks: Capture) -> None:
    process = async_to_sync(Process.objects.astart)("x", kind="y")
    assert fresh(process).kind == "y"


# Idempotency keys


def test_the_same_key_is_the_same_process(user: User) -> None:
    first = start(owner=user, idempotency_key="k", kwargs={"a": 1, "b": 2}, kind="x")
    again = start(owner=user, idempotency_key="k", kwargs={"b": 2, "a": 1}, kind="x")
    assert first == again
    assert Process.objects.count() == 1
    execute(first, lambda p: 5)
    assert start(owner=user, idempotency_key="k", kwargs={"a": 1, "b": 2}, kind="x").result == 5


@pytest.mark.parametrize(
    "other", [{"kwargs": {"a": 2}}, {"args": [1]}, {"kind": "other"}, {"task": Work(), "kwargs": {"a": 1.5}}]
)
def test_the_same_key_for_something_else_is_a_conflict(user: User, other: dict[str, Any]) -> None:
    given: dict[str, Any] = {"task": Work(), "kwargs": {"a": 1}, "owner": user, "idempotency_key": "k"}
    Process.objects.start("x", **given)
    with pytest.raises(IdempotencyConflict, match="used before"):
        Process.objects.start("x", **given | other)


def test_keys_are_each_owners_own(user: User) -> None:
    other = User.objects.create_user("bob")
    assert start(owner=user, idempotency_key="k") != start(owner=other, idempotency_key="k")
    assert start(idempotency_key="k") != start(owner=user, idempotency_key="k")
    assert start(idempotency_key="k") == start(idempotency_key="k")


def test_keys_differ_in_case_accents_and_their_last_character(user: User) -> None:
    keys = ["key", "KEY", "kéy", "key ", "x" * 5000 + "1", "x" * 5000 + "2"]
    assert len({start(owner=user, idempotency_key=key).pk for key in keys}) == len(keys)


def test_the_header_brings_one(user: User) -> None:
    headers = {"Idempotency-Key": "k"}
    first = start(request=request_of(user, **headers))
    assert start(request=request_of(user, **headers)) == first
    assert start(request=request_of(user)) != first
    assert start(request=request_of(user, **{"Idempotency-Key": " "})) != first
    assert start(request=request_of(user), idempotency_key="k") == first


def test_strangers_never_get_each_others_processes() -> None:
    headers = {"Idempotency-Key": "1"}
    assert start(request=request_of(**headers)) != start(request=request_of(**headers))
    visitor, other = request_of(session=True, **headers), request_of(session=True, **headers)
    first = start(request=visitor)
    assert start(request=visitor) == first
    assert start(request=other) != first


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_are_one(engine: FakeEngine, user: User) -> None:
    """Fault 55."""
    processes = together(20, lambda number: start(owner=user, idempotency_key="k").pk)
    assert len(set(processes)) == 1
    assert Process.objects.count() == 1
    assert engine.published == [Process.objects.get().task_id]


# Retry


def test_a_retry_is_a_new_process_for_the_same_work(user: User) -> None:
    process = start(
        owner=user, kind="search", kwargs={"a": 1}, context={"c": 1}, max_attempts=2, max_duration=60, total=10,
        unit="rows", success_url="/s/", failure_url="/f/",
    )  # fmt: skip
    execute(process, lambda p: p.set_progress(5, 30) or p.set_message("a", "b") or p.fail("x"))
    child = process.retry()
    row = fresh(child)
    assert row.retry_of == process
    assert (row.status, row.last_seq, row.attempt_number) == (Status.PENDING, 1, 0)
    assert (row.owner, row.kind, row.task_kwargs, row.context) == (user, "search", {"a": 1}, {"c": 1})
    assert (row.current, row.total, row.unit, row.messages, row.error) == (0, 10, "rows", [], "")
    assert (row.success_url, row.failure_url) == ("/s/", "/f/")
    assert row.expires_at == row.created_at + timedelta(seconds=60)
    assert row.task_id != process.task_id
    assert types_of(process) == ["milestone", "attempt", "message", "failed"]


def types_of(process: Process) -> list[str]:
    return list(process.event_set.values_list("type", flat=True))


def test_a_retry_while_one_is_active_is_that_one() -> None:
    process = start()
    execute(process, lambda p: p.fail("x"))
    child = process.retry()
    assert process.retry() == fresh(process).retry() == child
    execute(child, lambda p: p.fail("x"))
    assert process.retry() != child


def test_what_can_not_be_retried_says_so() -> None:
    process = Process.objects.start("x")
    with pytest.raises(ProcessActive):
        process.retry()
    process.succeed()
    with pytest.raises(RetryNotPossible, match="no task"):
        process.retry()
    with pytest.raises(ProcessActive):
        start().retry()


def test_a_retry_of_an_overdue_process_stores_its_expiry() -> None:
    process = start(max_duration=60)
    Process.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert process.retry().retry_of == process
    assert fresh(process).status == Status.EXPIRED


def test_retry_asynchronously() -> None:
    process = start()
    process.cancel()
    assert async_to_sync(process.aretry)().retry_of_id == process.pk


@pytest.mark.django_db(transaction=True)
def test_a_double_click_retries_once() -> None:
    for _ in range(5):
        process = start()
        process.cancel()
        children = together(4, lambda number, process=process: fresh(process).retry().pk)
        assert len(set(children)) == 1
        assert process.retries.count() == 1


# Other databases


def test_writes_go_where_the_router_wants_them(settings: Any) -> None:
    settings.DATABASE_ROUTERS = ["tests.unit.test_starting.Replica"]
    process = start()
    assert process._using == "default"
    execute_on = Process.objects.using("default").get(pk=process.pk)
    execute_on._state.db = "replica"  # as if it had been read there
    assert execute_on._using == "default"
    execute_on.milestone("x")


class Replica:
    """Reads from a database that isn't there, so that whoever reads there before writing is found out."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model is Process and "instance" not in hints else None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_task_in_a_database_that_workers_don_t_look_at_is_refused() -> None:
    with pytest.raises(
        ValueError, match="must be in the database 'default', where workers look for it, not in 'archive'"
    ):
        Process.objects.db_manager("archive").start("x", task=Work())
