"""That the import contracts of setup.cfg hold, and that they would notice if they didn't."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may spoil."""
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "django_progress", tmp_path / "django_progress", ignore=compiled)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=folder,
        # So that the copy is found first, wherever the package may be installed.
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_imports_point_down(copy: Path) -> None:
    result = lint_imports(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "reported"),
    [
        ("status.py", "from django_progress import views", "django_progress.status -> django_progress.views"),
        ("clock.py", "from .tasks import progress_task", "django_progress.clock -> django_progress.tasks"),
        ("dispatch.py", "import celery", "django_progress.dispatch -> celery"),
        ("signals.py", "def later():\n    from . import models", "django_progress.signals -> django_progress.models"),
    ],
    ids=["vocabulary-web", "storage-adapter", "third-party", "inside-a-function"],
)
def test_upward_import_is_reported(copy: Path, module: str, line: str, reported: str) -> None:
    with (copy / "django_progress" / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert reported in result.stdout


def test_module_without_a_layer_is_reported(copy: Path) -> None:
    (copy / "django_progress" / "newcomer.py").touch()
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "newcomer" in result.stdout
