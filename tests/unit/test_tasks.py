"""The decorator, and what reaches Celery."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from celery.app.trace import build_tracer
from celery.contrib.testing.worker import start_worker
from django.contrib.auth.models import User
from django.db import transaction
from django_celery_results.models import TaskResult

from django_progress import engines
from django_progress.models import Process
from django_progress.publishing import CeleryEngine
from django_progress.status import Status
from django_progress.tasks import ProgressTask, current_process, progress_task
from tests.celery import app
from tests.travel import tasks
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Recorder(CeleryEngine):
    """An engine that notes what it is asked to publish."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[dict[str, Any]] = []

    def publish(self, task_name: str, *, task_id: str, key: str, options: dict[str, object]) -> bool:
        self.published.append({"task": task_name, "task_id": task_id, "key": key, "options": options})
        return True


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    before = engines.get_engine()
    engine = Recorder()
    engines.register(engine)
    yield engine
    engines.register(before)


def test_message_names_the_process_and_nothing_else(recorder: Recorder) -> None:
    process = tasks.import_rows.start(None, upload_id=3)
    assert recorder.published == [
        {"task": "tests.travel.tasks.import_rows", "task_id": process.task_id, "key": str(process.key), "options": {}}
    ]
    assert (process.task_args, process.task_kwargs) == ([], {"upload_id": 3})
    assert process.status == Status.PENDING


def test_start_that_is_rolled_back_leaves_nothing(recorder: Recorder) -> None:
    def start_in_vain() -> None:
        with transaction.atomic():
            tasks.import_rows.start(None, upload_id=3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start_in_vain()
    with transaction.atomic(), pytest.raises(ZeroDivisionError):
        start_in_vain()
    assert not Process.objects.exists()
    assert recorder.published == []


def test_celery_options_pass_through(recorder: Recorder) -> None:
    @progress_task(name="test.options", queue="slow", priority=3, rate_limit="5/m", time_limit=60, acks_late=True)
    def work(process: Process) -> None:
        pass

    assert isinstance(work, ProgressTask)
    assert work.name == "test.options"
    assert (work.celery_task.rate_limit, work.celery_task.time_limit, work.celery_task.acks_late) == ("5/m", 60, True)
    work.start()
    work.using(queue="fast").start()
    assert [message["options"] for message in recorder.published] == [
        {"queue": "slow", "priority": 3},
        {"queue": "fast", "priority": 3},
    ]


def test_decorator_keeps_the_functions_face() -> None:
    assert tasks.patient.__doc__ == "Work until it is stopped, swallowing every exception that it can."
    assert tasks.patient.__name__ == "patient"
    assert tasks.import_rows.name == "tests.travel.tasks.import_rows"


@pytest.mark.parametrize(
    "option", ["bind", "autoretry_for", "retry_backoff", "max_retries", "default_retry_delay", "serializer", "expires"]
)
def test_options_that_would_break_a_promise_are_refused(option: str) -> None:
    with pytest.raises(TypeError, match=f"progress_task doesn't take {option}=: "):
        progress_task(**{option: True})


def test_bad_declarations_are_refused_where_they_stand() -> None:
    for wrong in ({"max_attempts": 0}, {"max_duration": -1}, {"kind": "not a slug"}, {"success_url": "//evil"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            progress_task(**wrong)

    async def body(process: Process) -> None:
        pass

    with pytest.raises(TypeError, match="async_to_sync"):
        progress_task(body)


def test_for_whom(recorder: Recorder, rf: Any) -> None:
    ann = User.objects.create_user("ann")
    request = rf.post("/")
    request.user = ann
    assert tasks.nightly.start(request).owner == ann
    assert tasks.nightly.start(ann).owner == ann
    assert tasks.nightly.start(None).owner is None
    assert tasks.nightly.start().owner is None


def test_no_process_outside_of_a_body() -> None:
    assert current_process() is None


def trace(process: Process) -> str:
    """Do in this thread what a worker does with a message for ``process``; return Celery's state of it."""
    task = app.tasks[process.task_name]
    tracer = build_tracer(task.name, task, app=app)
    args = (str(process.key),)
    return str(tracer(process.task_id, args, {}, {"id": process.task_id, "delivery_info": {}}).info)


def test_a_duplicate_leaves_the_result_of_the_one_that_executed(recorder: Recorder) -> None:
    process = tasks.nightly.start()
    for _ in range(3):
        trace(process)
        stored = TaskResult.objects.get()
        assert (stored.task_id, stored.status) == (process.task_id, "SUCCESS")
        assert json.loads(stored.result) == {"process": str(process.key), "status": "succeeded"}
    assert process.attempts.count() == 1


def test_a_duplicate_beside_the_one_that_executes_stores_no_result(recorder: Recorder) -> None:
    @progress_task(name="test.duplicate")
    def work(process: Process) -> str:
        trace(process)
        assert not TaskResult.objects.exclude(status="STARTED").exists()
        return "done"

    process = work.start()
    trace(process)
    assert TaskResult.objects.get().status == "SUCCESS"
    process.refresh_from_db()
    assert (process.status, process.result) == (Status.SUCCEEDED, "done")


def test_after_an_execution_its_thread_has_no_process(recorder: Recorder) -> None:
    seen: list[Process | None] = []

    @progress_task(name="test.afterwards")
    def work(process: Process, how: str) -> None:
        seen.append(current_process())
        match how:
            case "raise":
                raise ZeroDivisionError
            case "stop":
                process.cancel()
                process.checkpoint()

    def one_after_the_other() -> None:
        for how in ("return", "raise", "stop", "return"):
            process = work.start(None, how)
            trace(process)
            assert seen.pop() == process
            assert current_process() is None
            # What isn't fenced by a dead attempt can still be reported to.
            Process.objects.start("x").milestone("halfway")

    # In a context of its own, so that nothing is left for other tests.
    copy_context().run(one_after_the_other)
    assert [process.status for process in Process.objects.filter(task_name=work.name).order_by("pk")] == [
        Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SUCCEEDED,
    ]  # fmt: skip


def test_astart(recorder: Recorder) -> None:
    process = async_to_sync(tasks.nightly.astart)(None)
    assert Process.objects.get() == process


def test_threads_of_a_worker_execute_each_their_own() -> None:
    options: dict[str, Any] = {"pool": "threads", "concurrency": 4, "shutdown_timeout": 30}
    # It sets the root logger's level, for all tests that follow.
    with start_worker(app, perform_ping_check=False, loglevel="WARNING", **options):
        processes = [tasks.nightly.start() for _number in range(8)]
        wait_until(lambda: not Process.objects.active().exists(), what="eight processes to end")
    for process in Process.objects.filter(pk__in=[process.pk for process in processes]):
        assert process.result == str(process.key)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("silent", [False, True])
def test_broken_broker_keeps_nobody_waiting(settings: Any, scheme: str, silent: bool) -> None:
    """Fault 9: a refused port and one that accepts and says nothing; twenty starts wait once."""
    settings.DJANGO_PROGRESS = {"PUBLISH_TIMEOUT": 0.5}
    before = engines.get_engine()
    engines.register(CeleryEngine())
    url = app.conf.broker_url
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen(64)
        app.conf.broker_url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}//"
        try:
            begin = time.monotonic()
            processes = [tasks.nightly.start() for _number in range(20)]
            took = time.monotonic() - begin
        finally:
            app.conf.broker_url = url
            engines.register(before)
    assert took < 5  # Twenty waits would be ten seconds.
    assert {process.status for process in processes} == {"pending"}
