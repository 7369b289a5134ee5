"""The example project's filesystem broker: its files are there whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

from example_project.broker import Channel, use_whole_files

QUEUE = Queue("whole", Exchange("whole"), routing_key="whole")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    use_whole_files()
    for name in ("messages", "control"):
        (tmp_path / name).mkdir()
    messages = str(tmp_path / "messages")
    return {
        "polling_interval": 0.01,
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(tmp_path / "control"),
    }


def test_nobody_reads_a_message_that_is_not_yet_written(options: dict[str, Any]) -> None:
    """While one thread writes, another takes all that it finds; a torn message raises there."""
    taken: list[int] = []

    def write() -> None:
        with Connection("filesystem://", transport_options=options) as connection:
            producer = Producer(connection.default_channel, exchange=QUEUE.exchange, routing_key="whole")
            for number in range(300):
                producer.publish({"number": number, "padding": "x" * 20_000}, declare=[QUEUE])

    with Connection("filesystem://", transport_options=options) as connection:
        assert isinstance(connection.default_channel, Channel)
        writer = threading.Thread(target=write)
        with Consumer(connection, QUEUE, callbacks=[lambda body, message: taken.append(body["number"])], no_ack=True):
            writer.start()
            while len(taken) < 300:
                connection.drain_events(timeout=20)
        writer.join()
    assert sorted(taken) == list(range(300))


def test_it_waits_for_the_table_that_another_writes(options: dict[str, Any]) -> None:
    with Connection("filesystem://", transport_options=options) as connection:
        channel = connection.default_channel
        is_asked = threading.Event()
        found: list[Any] = []

        def ask() -> None:
            is_asked.set()
            found.extend(channel.get_table("whole"))

        with channel._tables_locked():
            table = Path(options["control_folder"]) / "whole.exchange"
            table.touch()
            asking = threading.Thread(target=ask)
            asking.start()
            is_asked.wait()
            asking.join(0.1)
            table.write_text('[["whole", "", "whole"]]')
        asking.join()
    assert [each.queue for each in found] == ["whole"]
