"""Who comes late, leaves at random and comes back sees each event once, and in order."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections

from django_progress.models import Process
from tests import services
from tests.push.serving import serve

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS, VISITS = 2_000, 200
AHEAD = 12
"""Events that the writer may be ahead of the reader: so that it reads both what it missed and what happens."""

WAYS = [
    pytest.param({"WAKE_UPS": "", "WATCH_INTERVAL": 0.05}, id="database"),
    pytest.param({"WAKE_UPS": services.REDIS_URL}, id="redis", marks=pytest.mark.redis),
]


class Writer(threading.Thread):
    """Writes events, none of them far ahead of the reader."""

    def __init__(self, process: Process) -> None:
        super().__init__(daemon=True)
        self.process, self.read, self.number, self.moved = process, 0, 0, threading.Condition()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for number in range(2, EVENTS):
                with self.moved:
                    self.number = number
                    assert self.moved.wait_for(self.may_write, 30), "nobody reads"
                self.process.log(f"Event {number}.")
            self.process.succeed()
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def may_write(self) -> bool:
        return self.number - self.read < AHEAD

    def has_read(self, seq: int) -> None:
        with self.moved:
            self.read = seq
            self.moved.notify()


@pytest.mark.parametrize("way", WAYS)
def test_each_event_once_and_in_order(way: dict[str, Any], settings: Any) -> None:
    settings.DJANGO_PROGRESS = way
    user = User.objects.create_user("ada")
    process = Process.objects.start("Import", owner=user)
    for number in range(2, 2 + AHEAD // 2):
        process.log(f"Too early {number}.")  # The reader comes late.
    draw = random.Random(5)
    writer = Writer(process)
    writer.read = process.last_seq
    seqs: list[int] = []
    visits = 0
    with serve(**way) as site, site.client(user) as client:
        writer.start()
        is_over = False
        while not is_over:
            visits += 1
            last = seqs[-1] if seqs else 0
            headers = {"Last-Event-ID": str(last)} if draw.random() < 0.5 else {}
            query = "" if headers else f"?after={last}"
            count = draw.randint(1, 2 * EVENTS // VISITS - 3)
            with site.stream(client, process, query, **headers) as events:
                for event in events:
                    if not event.data:
                        continue
                    assert event.event == "message", event
                    assert event.json()["seq"] == int(event.id)
                    seqs.append(int(event.id))
                    writer.has_read(seqs[-1])
                    count -= 1
                    is_over = event.json()["type"] == "succeeded"
                    if not count:
                        break
        writer.join(30)
        assert writer.error is None
        assert client.get(f"/progress/{process.key}/stream/?after={seqs[-1]}").status_code == 204
    process.refresh_from_db()
    assert seqs == list(range(1, process.last_seq + 1))
    assert len(seqs) >= EVENTS
    assert visits >= VISITS
