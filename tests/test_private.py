"""That the servers which fault tests break are really their own, really break, and leave nothing behind."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from tests.celery import add
from tests.databases import use_database
from tests.private import (
    SilentPort,
    private_mariadb,
    private_postgres,
    private_rabbitmq,
    private_redis,
    refused_port,
)
from tests.workers import ROOT, environ, open_private_broker, wait_until

SERVERS = [private_redis, private_postgres, private_mariadb, private_rabbitmq]
DATABASES = {"postgres": private_postgres, "mariadb": private_mariadb}


def states(parent: int) -> set[str]:
    """Return the states of what ``parent`` has started: "T" stands still, "Z" has ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has ended meanwhile.
            state, started_by = path.read_text().rpartition(")")[2].split()[:2]
            if int(started_by) == parent:
                found.add(state)
    return found


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("private", SERVERS, ids=lambda private: private.__name__)
def test_server_lives_as_it_is_told_and_leaves_nothing(private: Any) -> None:
    with private() as server:
        assert server.is_up()
        family = server.family
        server.freeze()
        assert not server.is_up()
        # Those that serve sessions too, which need no others for it.
        wait_until(lambda: states(server.pid) <= {"T", "Z"}, what="all of it to stand still")
        server.thaw()
        wait_until(server.is_up, what="the server to go on")
        server.kill()
        assert not server.is_up()
        assert not server.family
        wait_until(lambda: not any(map(is_there, family)), what="what the killed server had started to be gone")
        server.start()
        assert server.is_up()
        family = server.family
    assert not server.is_up()
    assert not server.folder.exists()
    wait_until(lambda: not any(map(is_there, family)), what="what the removed server had started to be gone")


@pytest.mark.parametrize("private", [private_redis, private_rabbitmq], ids=lambda private: private.__name__)
def test_broker_keeps_its_messages_until_it_is_emptied(private: Any) -> None:
    with private() as server, open_private_broker(server) as broker:

        def waiting() -> int:
            with broker.connection() as connection:
                return int(connection.default_channel.queue_declare(broker.queue, passive=True).message_count)

        add.delay(1, 2)
        server.restart()
        assert waiting() == 1
        server.empty()
        if server.name == "redis":
            # A queue without messages isn't there at all.
            add.delay(1, 2)
            assert waiting() == 1
        else:
            assert waiting() == 0


@pytest.mark.skipif(settings.DATABASE == "sqlite", reason="SQLite has no server")
@pytest.mark.django_db(transaction=True)
def test_django_uses_a_private_database_and_loses_it() -> None:
    there = connection.settings_dict["PORT"]
    with DATABASES[settings.DATABASE]() as server:
        with use_database(server):
            assert connection.settings_dict["PORT"] == str(server.port)
            assert environ()["PGPORT" if settings.DATABASE == "postgres" else "MYSQL_TCP_PORT"] == str(server.port)
            User.objects.create(username="somebody")
            assert server.terminate_connections() == 1
            with pytest.raises(OperationalError):
                User.objects.count()
            connection.close()
            assert User.objects.count() == 1
            server.restart()
            connection.close()
            assert User.objects.count() == 1
        server.empty()
        assert settings.RUN not in server.query("SELECT schema_name FROM information_schema.schemata")
    assert connection.settings_dict["PORT"] == there
    assert not User.objects.exists()


def test_server_ends_with_the_tests_that_are_killed() -> None:
    code = """
import time
from tests.private import private_redis
with private_redis() as redis:
    print(redis.pid, redis.folder, flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, env=environ(), stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pid, folder = program.stdout.readline().split()
        assert is_there(int(pid))
        program.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_there(int(pid)), what="the server to end")
    shutil.rmtree(folder)


def test_server_is_removed_when_its_test_fails() -> None:
    servers = []

    def fail() -> None:
        with private_redis() as server:
            servers.append(server)
            server.freeze()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert servers[0].process is None
    assert not servers[0].folder.exists()


def test_missing_program_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.server.find_program", lambda name: None)
    monkeypatch.delenv("DJANGO_PROGRESS_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no program redis-server"):
        private_redis()
    monkeypatch.setenv("DJANGO_PROGRESS_REQUIRE", "redis")
    with pytest.raises(pytest.fail.Exception, match="no program redis-server"):
        private_redis()


def test_silent_port_accepts_and_says_nothing() -> None:
    with SilentPort() as silent, socket.create_connection(("127.0.0.1", silent.port), timeout=0.2) as client:
        client.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", refused_port()), timeout=1)
