"""kombu's filesystem broker, whose files other programs see either whole or not at all.

kombu creates a file and then locks and fills it. A worker that looks in between reads an
empty message, for which it ends, and the message is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

__all__ = ["Channel", "Transport", "use_whole_files"]


class Channel(filesystem.Channel):
    """Writes beside the folder's messages, and then gives the file its name."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # as kombu does
        folder, unique = Path(self.data_folder_out), uuid4()
        part = folder / f".{unique}"
        try:
            part.write_text(dumps(payload))
            part.replace(folder / f"{round(monotonic() * 1000)}_{unique}.{queue}.msg")
        except OSError as error:
            raise ChannelError(f"No message can be written into {folder}: {error}") from error

    # The tables of who listens have the same gap, at the moment when they are made.

    def get_table(self, exchange: str) -> Any:
        with self._tables_locked():
            return super().get_table(exchange)

    def _queue_bind(self, *binding: Any) -> None:
        with self._tables_locked():
            super()._queue_bind(*binding)

    @contextmanager
    def _tables_locked(self) -> Iterator[None]:
        self.control_folder.mkdir(exist_ok=True)
        with (self.control_folder / ".lock").open("a") as file:
            filesystem.lock(file, filesystem.LOCK_EX)
            yield  # Closing the file unlocks it.


class Transport(filesystem.Transport):
    """The transport of ``filesystem://`` once ``use_whole_files()`` was called."""

    Channel = Channel


def use_whole_files() -> None:
    """Have this process use it wherever a broker's address is ``filesystem://``."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
