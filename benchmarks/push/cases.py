"""What is measured: streams of one process or of a thousand, ours and the broadcaster's."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.db import connection, transaction
from django.test import override_settings
from django.urls import reverse

from benchmarks.push import bare
from benchmarks.push.measuring import Measured, Update, measure
from django_progress.models import Process
from tests.server import HOST, refused_port
from tests.workers import environ

__all__ = ["Case"]

BACKEND = "django.contrib.auth.backends.ModelBackend"
# What an event of ours looks like.
DATA = json.dumps({
    "id": "0b5a4b0e-6f6e-4f0c-9e4a-6f1d9c1d7a11.1", "seq": 1, "type": "milestone", "name": "ours",
    "message": "Searching our flight database", "happened_at": "2026-01-01T12:00:00.000000Z", "details": {},
})  # fmt: skip


@dataclass
class Case:
    """One set of streams, and how they hear of updates."""

    vendor: str
    wake_ups: str
    count: int
    each: bool
    """Whether each stream is of a process of its own."""
    seconds: float
    rate: float
    query: str

    def run_bare(self) -> Measured:
        """Measure the broadcaster."""
        port = refused_port()
        feed: list[socket.socket] = []
        numbers = [0] * self.count

        def update(chance: random.Random) -> tuple[Sequence[int], int, float]:
            if not feed:
                feed.append(socket.create_connection((HOST, port)))
                feed[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            topic, heard_by = self._choose(chance)
            numbers[topic] += 1
            moment = time.monotonic()
            feed[0].sendall(f"{topic} {numbers[topic]} {DATA}\n".encode())
            return heard_by, numbers[topic], moment

        streams = [(f"/{number if self.each else 0}", "") for number in range(self.count)]
        return self._measure("benchmarks.push.bare:application", streams, update, {bare.FEED: str(port)}, replays=False)

    def run_ours(self, *, profile: bool = False) -> Measured:
        """Measure this package's streams."""
        ours = {"WAKE_UPS": self.wake_ups}
        with override_settings(DJANGO_PROGRESS=ours):
            cookies, owners = _log_in(self.count, apart=self.each)
            processes = [
                Process.objects.start("Measuring", owner=owner) for owner in (owners if self.each else owners[:1])
            ]

            def update(chance: random.Random) -> tuple[Sequence[int], int, float]:
                topic, heard_by = self._choose(chance)
                moments: list[float] = []
                with transaction.atomic():
                    # Before anything else that waits for the commit.
                    transaction.on_commit(lambda: moments.append(time.monotonic()))
                    processes[topic].milestone("ours", "Searching our flight database")
                return heard_by, processes[topic].last_seq, moments[0]

            addresses = [
                reverse("django_progress:process-stream", args=[process.key]) + (self.query and f"?{self.query}")
                for process in processes
            ]
            streams = [(addresses[number if self.each else 0], cookie) for number, cookie in enumerate(cookies)]
            env = {
                **environ(),
                "DJANGO_SETTINGS_MODULE": "benchmarks.push.settings",
                "DJANGO_PROGRESS_TEST_SETTINGS": json.dumps(ours),
                "PGAPPNAME": f"push_{os.getpid()}",
            }
            return self._measure(
                "benchmarks.push.served:application", streams, update, env, replays=True, profile=profile
            )

    def _choose(self, chance: random.Random) -> tuple[int, Sequence[int]]:
        """Return what is updated, and which streams hear of it."""
        if self.each:
            number = chance.randrange(self.count)
            return number, [number]
        return 0, range(self.count)

    def _measure(
        self, application: str, streams: list[tuple[str, str]], update: Update, env: dict[str, str], **options: bool
    ) -> Measured:
        return measure(
            application, streams, update, env=env, seconds=self.seconds, rate=self.rate,
            count_connections=_connections, **options,
        )  # fmt: skip


def _log_in(count: int, *, apart: bool) -> tuple[list[str], list[object]]:
    """Return the cookies of ``count`` sessions, and whose they are: all of one user, or ``apart`` of as many."""
    users = get_user_model()
    made = [users.objects.create_user(f"user{time.monotonic_ns()}") for _ in range(count if apart else 1)]
    store = import_module(settings.SESSION_ENGINE).SessionStore
    cookies, owners = [], []
    for number in range(count):
        user = made[number if apart else 0]
        session = store()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = BACKEND
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
        owners.append(user)
    return cookies, owners


def _connections(pid: int) -> int:
    """Return how many connections to the database the process has."""
    match connection.vendor:
        case "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [f"push_{os.getpid()}"]
                )
                return int(cursor.fetchone()[0])
        case "sqlite":
            # Of the file itself a program may have more open than it has connections.
            name = f"{os.path.realpath(str(connection.settings_dict['NAME']))}-wal"
            files = Path(f"/proc/{pid}/fd").iterdir()
            return sum(os.path.realpath(file) == name for file in files)
    return 0
