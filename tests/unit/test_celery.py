"""What the adapter does when the ground under a body gives way. With Celery, executing inline."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection

from django_progress import dispatch, engines
from django_progress.clock import DatabaseNow
from django_progress.models import Process, Worker
from django_progress.publishing import CeleryEngine
from django_progress.status import Status
from django_progress.tasks import progress_task
from tests.celery import app
from tests.executing import claim, inside, start
from tests.invariants import check_invariants
from tests.travel import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def inline() -> Iterator[None]:
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False
    check_invariants()


@progress_task(name="tests.unit.third_time")
def third_time(process: Process) -> None:
    process.attempt(lambda: process.attempt_number == 3)


@progress_task(name="tests.unit.loses_its_connection")
def loses_its_connection(process: Process) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    from django.db import connections

    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    finally:
        other.close()
    return "done"


def test_delays_are_skipped_inline(inline: None) -> None:
    process = third_time.using(max_attempts=3, retry_delay=600, max_duration=60).start()
    assert (process.status, process.attempts.count()) == (Status.SUCCEEDED, 3)


@pytest.mark.postgres
def test_body_that_lost_its_connection_is_settled_on_a_new_one(inline: None) -> None:
    process = loses_its_connection.start()
    assert (process.status, process.result) == (Status.SUCCEEDED, "done")


def test_interruption_while_settling_is_a_failed_attempt(inline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(dispatch, "returned", interrupted)
    process = tasks.nightly.start()
    assert process.status == Status.FAILED
    assert process.attempts.get().outcome == "failed"


def test_instance_of_an_execution_that_has_ended_is_an_ordinary_one(inline: None) -> None:
    kept: list[Process] = []

    @progress_task(name="tests.unit.keeps_itself")
    def keeps_itself(process: Process) -> None:
        kept.append(process)

    keeps_itself.start()
    assert "_bound" not in kept[0].__dict__


def test_message_that_can_not_be_sent_keeps_no_other_back(settings: Any) -> None:
    """Only a lost broker is a reason not to ask it for a while."""
    engine = CeleryEngine()
    before = engines.get_engine()
    engines.register(engine)
    missing, app.conf.task_create_missing_queues = app.conf.task_create_missing_queues, False
    app.__dict__.pop("amqp", None)
    try:
        tasks.nightly.using(queue="nowhere").start()
        assert engine._closed_until == 0
    finally:
        app.conf.task_create_missing_queues = missing
        app.__dict__.pop("amqp", None)
        engines.register(before)


@pytest.mark.parametrize(
    ("option", "meant"), [("max_atempts", "max_attempts"), ("sucess_url", "success_url"), ("descripton", "description")]
)
def test_misspelt_option_is_not_swallowed(option: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean {meant}="):
        progress_task(**{option: "3"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"kwargs": {"nope": 1}}, "upload_id"), ({"args": "abc"}, "args must be"), ({"kwargs": [1]}, "kwargs a dict")],
)
def test_long_form_checks_arguments_too(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Process.objects.start("x", task=tasks.import_rows, **arguments)
    assert not Process.objects.exists()


def test_request_of_a_framework_is_a_request(rf: Any, django_user_model: Any) -> None:
    class Wrapper:
        def __init__(self, request: Any) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    request = rf.post("/")
    request.user = django_user_model.objects.create_user("ann")
    app.conf.task_always_eager = True
    try:
        assert tasks.nightly.start(Wrapper(request)).owner == request.user
    finally:
        app.conf.task_always_eager = False


@pytest.mark.django_db
def test_celery_beat_may_sweep_too(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 0}
    process = Process.objects.start("Courier", max_duration=60)
    Process.objects.update(expires_at=DatabaseNow(-1))
    app.tasks["django_progress.sweep"].apply(throw=True)
    assert Process.objects.get(pk=process.pk).status == Status.EXPIRED
    assert Worker.objects.get(name__startswith="django_progress.sweep@").swept_at is not None


@pytest.mark.django_db
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda process: pickle.loads(pickle.dumps(process))])
def test_copy_of_a_process_leaves_its_execution_behind(copied: Any) -> None:
    """What fences it is this thread's; a copy is made for a cache, or for another program."""
    with inside(claim(start())) as process:
        process.advance(1)
        other = copied(process)
        assert process._execution() is not None
    assert other._execution() is None
    assert (other.pk, other.title) == (process.pk, process.title)
