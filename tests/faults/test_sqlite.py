"""Fault 33: six processes write to one SQLite file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from django_progress.models import Event, Process
from tests.invariants import check_invariants
from tests.workers import ROOT, environ

pytestmark = pytest.mark.django_db(transaction=True)

WRITERS = 6
ROUNDS = 8
STEPS = 6


def options(mode: str, journal: str) -> dict[str, Any]:
    """What README.md says, with ``IMMEDIATE`` and ``wal``."""
    return {"transaction_mode": mode, "init_command": f"PRAGMA journal_mode={journal}", "timeout": 20}


@contextmanager
def database(file: Path, chosen: dict[str, Any]) -> Iterator[None]:
    """Use a file of its own, with empty tables, for the length of the block."""
    entry = connection.settings_dict
    before = {key: entry[key] for key in ("NAME", "OPTIONS")}
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(file)])
    connection.close()
    entry.update(NAME=str(file), OPTIONS=chosen)
    try:
        yield
    finally:
        connection.close()
        entry.update(before)


@pytest.fixture(scope="module")
def writers() -> Iterator[list[subprocess.Popen[str]]]:
    """Six programs that write when they are told to."""
    if settings.DATABASE != "sqlite":
        pytest.skip("is about SQLite")
    with ExitStack() as stack:
        programs = []
        for _ in range(WRITERS):
            command = [sys.executable, "-m", "tests.faults.sqlite_writer"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            program = subprocess.Popen(command, cwd=ROOT, env=environ(), text=True, **pipes)
            stack.callback(program.wait)
            stack.callback(program.kill)
            programs.append(program)
        assert [heard(program) for program in programs] == ["ready"] * WRITERS
        yield programs


def heard(program: subprocess.Popen[str]) -> Any:
    assert program.stdout is not None
    return json.loads(program.stdout.readline() or "null")


def told(program: subprocess.Popen[str], **job: Any) -> None:
    assert program.stdin is not None
    program.stdin.write(json.dumps(job) + "\n")
    program.stdin.flush()


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("mode", ["IMMEDIATE", "DEFERRED"])
def test_fault_33_six_processes_write_to_one_file(
    mode: str, journal: str, writers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """At the settings in README.md nobody is told "locked"; at others somebody may be, and nothing is torn."""
    file, chosen = tmp_path / "db.sqlite3", options(mode, journal)
    with database(file, chosen):
        shared = Process.objects.start("x", kind="shared")
        for program in writers:
            told(program, file=str(file), options=chosen, rounds=ROUNDS)
        counts = sum((Counter(heard(program)) for program in writers), Counter())
        assert sum(counts.values()) == WRITERS * ROUNDS * STEPS
        if mode == "IMMEDIATE":
            assert counts["locked"] == 0
            assert Event.objects.filter(process=shared, name__startswith="step-").count() == WRITERS * ROUNDS
            assert not Process.objects.active().exclude(pk=shared.pk).exists()
        check_invariants()


def test_fault_33_readme_says_so() -> None:
    readme = (ROOT / "README.md").read_text()
    for name, value in options("IMMEDIATE", "wal").items():
        assert f"{json.dumps(name)}: {json.dumps(value)}" in readme
