"""What a body did, noted in a file: neither the database nor a broker can lose it or make it up."""

from __future__ import annotations

import time
from pathlib import Path

from tests.workers import wait_until


class Journal:
    """Lines of words, written by bodies in any process, and gates at which these wait."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    # For bodies

    def add(self, what: str, execution: int, more: object) -> None:
        with self.path.open("a") as file:  # one write() of a short line, which another's doesn't divide
            file.write(f"{what} {execution} {more}\n")

    def wait_at_gate(self, execution: int, longest: float = 60) -> None:
        """Return when the test opens the gate. Asks nothing of the database: only a report may notice the end."""
        end = time.monotonic() + longest
        while not self._gate(execution).exists():
            if time.monotonic() > end:
                raise TimeoutError("Nobody opened the gate.")
            time.sleep(0.01)

    # For tests

    def open(self, *executions: int) -> None:
        for execution in executions:
            self._gate(execution).touch()

    def lines(self, what: str = "") -> list[list[str]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [line.split() for line in text.splitlines() if line.startswith(what)]

    @property
    def runs(self) -> list[int]:
        """The executions whose body began, in order."""
        return [int(execution) for _what, execution, _pid in self.lines("began")]

    def wait_for_run(self, execution: int) -> int:
        """Return the id of the process in which that execution's body began."""

        def find() -> int | None:
            found = [int(pid) for _what, number, pid in self.lines("began") if int(number) == execution]
            return found[0] if found else None

        return int(wait_until(find, timeout=60, what=f"execution {execution} to begin"))

    def wait_for(self, what: str, execution: int) -> str:
        """Return the last word of the first such line."""

        def find() -> str | None:
            return next((more for _what, number, more in self.lines(what) if int(number) == execution), None)

        return str(wait_until(find, timeout=60, what=f"execution {execution} to note {what!r}"))

    def _gate(self, execution: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{execution}")
