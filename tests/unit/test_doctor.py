"""What the doctor says: every finding is made to appear, and to go away."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

from django_progress import doctor, inspection, presence
from django_progress.clock import DatabaseNow
from django_progress.doctor import Finding, Level
from django_progress.models import Process, Worker
from tests.executing import Work, start
from tests.workers import Broker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


def findings(about: str, level: Level | None = None) -> list[Finding]:
    found = [*doctor.examine(), *inspection.examine()]
    return [each for each in found if each.about == about and (level is None or each.level == level)]


def only(about: str) -> Finding:
    [finding] = findings(about)
    return finding


@contextmanager
def changed(target: dict[str, Any], **changes: Any) -> Iterator[None]:
    before = dict(target)
    target.update(changes)
    try:
        yield
    finally:
        target.clear()
        target.update(before)


@pytest.fixture
def well() -> None:
    """A worker that listens and sweeps."""
    presence.note("a@host", ["default", "mail"], swept=True)


# Django


def test_settings(settings: Any) -> None:
    assert only("settings") == (Level.OK, "settings", "A lease of 60 s, a beat every 10 s.", "")
    settings.DJANGO_PROGRESS = {"LEASE": 20, "HEARTBEAT": 10}
    finding = only("settings")
    assert (finding.level, finding.fix) == (Level.WARNING, "Raise LEASE or lower HEARTBEAT.")
    settings.DJANGO_PROGRESS = {"LEESE": 20}
    assert only("settings").level == Level.ERROR
    settings.SILENCED_SYSTEM_CHECKS = ["django_progress.E002"]
    assert only("settings").level == Level.OK


def test_htmx(settings: Any) -> None:
    assert only("htmx").level == Level.OK
    settings.MIDDLEWARE = [name for name in django_settings.MIDDLEWARE if "htmx" not in name]
    finding = only("htmx")
    assert (finding.level, finding.fix) == (Level.INFO, 'MIDDLEWARE += ["django_htmx.middleware.HtmxMiddleware"]')


@pytest.mark.parametrize(
    ("asgi", "age", "options", "warned"),
    [
        ("site.asgi.application", 600, {}, True),
        ("site.asgi.application", None, {}, True),
        ("site.asgi.application", 0, {}, False),
        ("site.asgi.application", 600, {"pool": True}, False),
        (None, 600, {}, False),
    ],
)
def test_persistent_connections(settings: Any, asgi: Any, age: Any, options: Any, warned: bool) -> None:
    settings.ASGI_APPLICATION = asgi
    with changed(connection.settings_dict, CONN_MAX_AGE=age, OPTIONS=connection.settings_dict["OPTIONS"] | options):
        found = list(doctor._persistence(connection))
    assert [finding.level for finding in found] == [Level.WARNING] * warned


def test_migrations() -> None:
    assert only("migrations").level == Level.OK
    MigrationRecorder.Migration.objects.filter(app="django_progress").order_by("-pk")[:1].get().delete()
    finding = only("migrations")
    assert (finding.level, finding.fix) == (Level.ERROR, "manage.py migrate django_progress")
    assert re.match(r"Not applied: \d{4}_\w+\.$", finding.text)
    # There may be no tables to look into.
    assert findings("workers") == []


# The database


@pytest.fixture
def sqlite() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("runs where DJANGO_PROGRESS_TEST_DB=sqlite")


def test_sqlite_is_set_up_well(sqlite: None) -> None:
    assert [finding.level for finding in findings("database")] == [Level.INFO, Level.OK]
    assert "inside atomic()" in findings("database", Level.INFO)[0].text


@pytest.mark.parametrize("mode", [None, "DEFERRED", "deferred"])
def test_sqlite_must_begin_its_transactions_as_a_writer(sqlite: None, mode: str | None) -> None:
    with changed(connection.settings_dict["OPTIONS"], transaction_mode=mode):
        [finding] = findings("database", Level.ERROR)
    assert "IMMEDIATE" in finding.fix
    assert findings("database", Level.ERROR) == []


@pytest.mark.parametrize(
    ("pragma", "answer", "fix"),
    [("journal_mode", "delete", "journal_mode=wal"), ("busy_timeout", "5000", "timeout")],
)
def test_sqlite_journal_and_patience(
    sqlite: None, monkeypatch: pytest.MonkeyPatch, pragma: str, answer: str, fix: str
) -> None:
    assert findings("database", Level.WARNING) == []
    ask = doctor._asked
    monkeypatch.setattr(doctor, "_asked", lambda c, question: answer if pragma in question else ask(c, question))
    [finding] = findings("database", Level.WARNING)
    assert fix in finding.fix


@pytest.mark.django_db(transaction=True)
def test_isolation() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's transactions are always serializable")
    assert findings("database", Level.WARNING) == []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        else:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    try:
        [finding] = findings("database", Level.WARNING)
        assert "REPEATABLE READ" in finding.text
    finally:
        connection.close()
    assert findings("database", Level.WARNING) == []


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite goes with its process.")
def test_a_transaction_that_is_left_lying() -> None:
    name = {"postgresql": "idle_in_transaction_session_timeout", "mysql": "idle_write_transaction_timeout"}
    [finding] = findings("database", Level.INFO)
    assert name[connection.vendor] in finding.text
    assert name[connection.vendor] in finding.fix
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {name[connection.vendor]} = 300")
        try:
            assert findings("database", Level.INFO) == []
            assert only("database").level == Level.OK
        finally:
            cursor.execute(f"SET SESSION {name[connection.vendor]} = 0")


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*args: Any) -> str:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(doctor, "_asked", down)
    [finding] = findings("database")
    assert (finding.level, finding.text) == (Level.ERROR, "'default' can't be asked: connection refused")


def test_clocks(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only("clocks").level == Level.OK
    Worker.objects.update(clock_offset=-3)
    finding = only("clocks")
    assert (finding.level, "a@host's by -3.0 s" in finding.text) == (Level.WARNING, True)
    Worker.objects.update(clock_offset=-3, seen_at=DatabaseNow(-3600))
    assert only("clocks").level == Level.OK
    for offset in (-5, 5):
        monkeypatch.setattr(
            doctor.clock, "read", lambda using, offset=offset: datetime.now(UTC) - timedelta(seconds=offset)
        )
        finding = only("clocks")
        assert finding.level == Level.WARNING
        assert f"this process's by {offset:+.1f} s" in finding.text


def test_a_slow_answer_is_no_skew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SKEW", 0.02)
    read = doctor.clock.read

    def slow(using: str) -> datetime:
        time.sleep(0.05)
        now = read(using)
        time.sleep(0.05)
        return now

    monkeypatch.setattr(doctor.clock, "read", slow)
    assert only("clocks").level == Level.OK


# Workers


def test_workers(settings: Any) -> None:
    finding = only("workers")
    assert (finding.level, finding.text) == (Level.WARNING, "None is alive, and no process waits.")
    start()
    finding = only("workers")
    assert (finding.level, finding.text) == (Level.ERROR, "None is alive, and one process waits.")
    presence.note("a@host", ["default", "mail"])
    finding = only("workers")
    assert (finding.level, finding.text) == (Level.OK, "a@host (default, mail): alive, and one process waits.")
    Worker.objects.update(seen_at=DatabaseNow(-31))
    assert only("workers").level == Level.ERROR


def test_who_only_sweeps_is_no_worker() -> None:
    presence.note("progress_sweep@x", swept=True)
    assert only("workers").text == "None is alive, and no process waits."


def test_queues_that_nobody_listens_to(well: None) -> None:
    for queue in ("mail", "bulk", "bulk", ""):
        Process.objects.start("x", task=Work(), options={"queue": queue})
    [finding] = findings("workers", Level.ERROR)
    assert finding.text == "In the queue 'bulk', to which none listens, 2 processes wait: tests.work."
    assert finding.fix.endswith("--queues bulk")
    presence.note("b@host", ["bulk"])
    assert findings("workers", Level.ERROR) == []


def test_long_lists_are_cut(well: None) -> None:
    for number in range(12):
        presence.note(f"b{number:02}@host", ["default"])
    assert " and 3 more: alive" in only("workers").text
    for number in range(7):
        start()
        Process.objects.filter(task_name="tests.work").update(task_name=f"task{number}", queue="bulk")
    [finding] = findings("workers", Level.ERROR)
    assert finding.text.endswith("7 processes wait: task0, task1, task2, task3, task4 and 2 more.")


def test_sweep(settings: Any) -> None:
    assert (only("sweep").level, only("sweep").fix) == (Level.WARNING, "Start a worker: each one sweeps.")
    start()
    assert only("sweep").level == Level.ERROR
    presence.note("a@host", [], swept=True)
    assert only("sweep").level == Level.OK
    Worker.objects.update(swept_at=DatabaseNow(-75))
    finding = only("sweep")
    assert finding.level == Level.ERROR
    assert finding.text.startswith("The last sweep was 7")
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 10}
    assert only("sweep").level == Level.OK
    settings.DJANGO_PROGRESS = {"SWEEP_INTERVAL": 0}
    assert only("sweep").level == Level.OK
    Worker.objects.update(swept_at=DatabaseNow(-1000))
    assert (only("sweep").level, only("sweep").fix) == (Level.ERROR, "Run manage.py progress_sweep from cron.")


# Celery


@pytest.mark.parametrize(
    ("changes", "about", "level", "says"),
    [
        ({}, "Celery", None, ""),
        ({"task_always_eager": True}, "Celery", Level.WARNING, "inside the request"),
        ({}, "serializers", Level.OK, "JSON only."),
        ({"accept_content": ["json", "pickle"]}, "serializers", Level.ERROR, "whoever reaches the broker"),
        ({"accept_content": ["msgpack"]}, "serializers", Level.ERROR, "workers refuse"),
        ({"accept_content": ["application/json"]}, "serializers", Level.OK, "JSON only."),
        ({"task_serializer": "msgpack"}, "serializers", Level.WARNING, "'msgpack'"),
        ({"result_serializer": "msgpack"}, "serializers", Level.WARNING, "result_serializer is 'msgpack'"),
        ({"result_accept_content": ["json", "pickle"]}, "serializers", Level.ERROR, "whoever reaches the results"),
        ({"result_extended": True}, "results", Level.OK, "in the database"),
        ({"result_extended": False}, "results", Level.INFO, "without the task's name"),
        ({"result_backend": "rpc://"}, "results", Level.INFO, "in rpc,"),
        ({"result_backend": None}, "results", Level.INFO, "keeps no results"),
        ({"result_backend": "disabled://"}, "results", Level.INFO, "keeps no results"),
        (
            {"result_backend": "django_celery_results.backends:DatabaseBackend", "result_extended": True},
            "results",
            Level.OK,
            "in the database",
        ),
        ({}, "broker", Level.WARNING, "In memory"),
    ],
)
def test_celery(changes: Any, conf: Any, about: str, level: Level | None, says: str) -> None:
    conf.update(changes)
    found = findings(about)
    assert [finding.level for finding in found] == ([level] if level else [])
    assert says in "".join(finding.text for finding in found)
    assert all(finding.fix for finding in found if level != Level.OK)


def test_an_app_that_was_not_imported(conf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    app = inspection.current_app._get_current_object()
    monkeypatch.setattr(app, "main", "default")
    assert findings("Celery") == []
    conf.update(broker_url=None)
    monkeypatch.setattr(inspection, "_unreachable", lambda connection: "")
    assert "no Celery app of yours" in only("Celery").text


def test_results_without_their_app(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in django_settings.INSTALLED_APPS if app != "django_celery_results"]
    assert only("results").level == Level.ERROR


def test_files_answer(broker: Broker) -> None:
    assert only("broker").level == Level.INFO


@pytest.mark.redis
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_redis_answers(broker: Broker, conf: Any) -> None:
    ok, info = findings("broker")
    assert (ok.level, ok.text.endswith(" answers.")) == (Level.OK, True)
    assert info.level == Level.INFO
    assert "within 3,600 s (visibility_timeout)" in info.text
    assert "within 60 s" in info.text
    start(lease=600)
    conf.update(broker_transport_options={"visibility_timeout": 7200})
    assert "within 7,200 s" in findings("broker")[1].text
    assert "within 600 s" in findings("broker")[1].text


@pytest.mark.rabbitmq
@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_rabbitmq_answers(broker: Broker, conf: Any) -> None:
    finding = only("broker")
    assert finding.level == Level.OK
    assert ":**@" in finding.text


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_down(scheme: str, conf: Any) -> None:
    conf.update(broker_url=f"{scheme}://me:secret@127.0.0.1:1//")
    finding = findings("broker")[0]
    assert finding.level == Level.ERROR
    assert "secret" not in finding.text
    assert "efused" in finding.text


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_silent(scheme: str, conf: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its own limits are."""
    settings.DJANGO_PROGRESS = {"PUBLISH_TIMEOUT": 8}
    monkeypatch.setattr(inspection, "PATIENCE", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        conf.update(broker_url=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}//")
        began = time.monotonic()
        finding = findings("broker")[0]
        assert time.monotonic() - began < 5
    assert (finding.level, "did not answer within 0.3 s" in finding.text) == (Level.ERROR, True)


# The command


def told(*args: str) -> tuple[str, str]:
    """Return what the command says, and with what it fails."""
    out, failed = StringIO(), ""
    try:
        call_command("progress_doctor", *args, stdout=out, no_color=True)
    except CommandError as error:
        failed = str(error) if error.returncode == 1 else f"{error!r} ended with {error.returncode}"
    return out.getvalue(), failed


def test_command(well: None, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"LEASE": 20}
    out, failed = told()
    assert failed == ""
    assert "\nOK       workers      a@host (default, mail): alive, and no process waits.\n" in f"\n{out}"
    assert f"\n{' ' * 24}Raise LEASE or lower HEARTBEAT.\n" in out
    assert out.endswith("\n0 errors, 2 warnings.\n")  # And the broker in memory.
    assert all(len(line) <= 100 for line in out.splitlines())


def test_command_fails_with_errors(settings: Any) -> None:
    start()
    out, failed = told()
    assert failed == "2 errors, 1 warning."
    assert "ERROR    workers      None is alive, and one process waits.\n" in out


def test_command_for_programs(well: None) -> None:
    out, failed = told("--json")
    assert failed == ""
    found = json.loads(out)
    assert {"level": "ok", "about": "migrations", "text": "All are applied.", "fix": ""} in found
    assert [Finding(**each).level for each in found]


def test_command_looks_at_a_database(well: None) -> None:
    assert told("--database", "elsewhere") == ("", "There is no database 'elsewhere' in DATABASES.")
    assert "a@host" in told("--database", "default")[0]


def test_violations_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told("--invariants") == ("0 processes, 0 violations.\n", "")
    processes = [Process.objects.start("x") for _ in range(3)]
    assert told("--invariants") == ("3 processes, 0 violations.\n", "")
    Process.objects.update(revision=0)
    text = "revision 0 is behind event 1 (running)"
    out, failed = told("--invariants")
    assert failed == "3 processes, 3 violations."
    assert out.splitlines() == [f"I2   {process.key}: {text}" for process in processes]
    monkeypatch.setattr("django_progress.management.commands.progress_doctor.SHOWN", 1)
    out, failed = told("--invariants")
    assert failed == "3 processes, 3 violations."
    assert out.splitlines() == [f"I2   {processes[0].key}: {text}", "… and 2 more"]
    out, failed = told("--invariants", "--json")
    assert failed == "3 processes, 3 violations."
    first = {"invariant": "I2", "process": str(processes[0].key), "text": text}
    assert json.loads(out) == {"processes": 3, "count": 3, "violations": [first]}


def test_violations_need_time_and_a_broker(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process.objects.start("x", max_duration=60)
    Process.objects.update(expires_at=DatabaseNow(-300))
    assert "I1" in told("--invariants")[0]
    assert told("--invariants", "--margin", "600") == ("1 process, 0 violations.\n", "")
    Process.objects.update(expires_at=None)
    engine.publish("x", task_id="an-id", key=str(process.key).replace("4", "5"), options={})
    assert "I6" in told("--invariants")[0]
    assert told("--invariants", "--no-broker") == ("1 process, 0 violations.\n", "")

    def down(queue: str, most: int) -> None:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(engine, "messages", down)
    assert told("--invariants") == ("", "The broker can't be asked (refused); --no-broker leaves it out.")


def test_a_transport_that_can_not_be_loaded(conf: Any) -> None:
    conf.update(broker_url="nonsense://x")
    finding = only("broker")
    assert (finding.level, "can't be loaded" in finding.text) == (Level.ERROR, True)
