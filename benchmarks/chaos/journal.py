"""What bodies really did, in a file that no fault of the run reaches."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["VARIABLE", "Journal", "Note", "note"]

VARIABLE = "DJANGO_PROGRESS_CHAOS_JOURNAL"
"""The environment variable that tells a worker where the file is."""


class Note(NamedTuple):
    """One line."""

    what: str
    """``begun``, ``reached`` (a milestone that was committed) or ``ended`` (the body returns)."""
    process: int
    execution: int
    pid: int
    at: float
    """Seconds on the clock that all processes of a machine share (time.monotonic)."""
    name: str


def note(what: str, process: int, execution: int, name: str) -> None:
    """Append a line; called in workers. One short write, which no other's divides."""
    line = f"{what} {process} {execution} {os.getpid()} {time.monotonic():.4f} {name}\n"
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


class Journal:
    """All notes so far, and those that came since one last looked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.notes: list[Note] = []
        self._offset = 0

    def read(self) -> list[Note]:
        """Return all notes."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole, _newline, _begun = new.rpartition(b"\n")
        self._offset += len(whole) + bool(whole)
        for line in whole.decode().splitlines():
            what, process, execution, pid, at, name = line.split(" ")
            self.notes.append(Note(what, int(process), int(execution), int(pid), float(at), name))
        return self.notes
