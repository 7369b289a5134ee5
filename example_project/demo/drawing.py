"""Progress in a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TextIO

__all__ = ["Drawing"]

WIDTH = 30


class Drawing:
    """A bar that is drawn over and over in a terminal, and line by line, every two seconds, into anything else."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.over = stream.isatty()
        self.last = ""
        self.due = 0.0

    def show(self, status: Mapping[str, Any]) -> None:
        """Draw a process's JSON status, if it looks any different."""
        line = describe(status)
        if line == self.last or (not self.over and not status["done"] and time.monotonic() < self.due):
            return
        if self.over:
            end = "\n" if status["done"] else ""
            self.stream.write(f"\r{line:<{len(self.last)}}{end}")
        else:
            self.stream.write(f"{line}\n")
        self.stream.flush()
        self.last = line
        self.due = time.monotonic() + 2


def describe(status: Mapping[str, Any]) -> str:
    """Return a process's JSON status as one line."""
    progress = status["progress"]
    parts = []
    if progress["percent"] is not None:
        full = int(WIDTH * progress["percent"] / 100)
        parts += [f"[{'#' * full}{'-' * (WIDTH - full)}]", f"{progress['percent']:3.0f} %"]
        if progress["unit"] != "%":
            parts.append(f"{progress['current']:,} of {progress['total']:,} {progress['unit']}".strip())
    if status["attempt"]["max"] > 1 and status["attempt"]["number"]:
        parts.append(f"attempt {status['attempt']['number']}")
    parts.append(status["status"])
    return "  ".join(parts)
