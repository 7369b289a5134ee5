"""That the example project, when it isn't for debugging, is set up as Django would have a site be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SECURITY = """
from django.conf import settings
print(settings.SECURE_SSL_REDIRECT, settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE,
      settings.SECURE_HSTS_SECONDS > 0, settings.ALLOWED_HOSTS)
"""


def manage(folder: Path, *command: str, **environ: str) -> Any:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "EXAMPLE_"))}
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:example_project", "manage.py", *command],
        cwd=ROOT,
        env={**inherited, "EXAMPLE_DATA_DIR": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_check_deploy_finds_nothing(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", EXAMPLE_DEBUG="0")
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


def test_it_is_https_only_unless_it_is_for_debugging(tmp_path: Path) -> None:
    local = manage(tmp_path, "shell", "--no-imports", "-c", SECURITY)
    assert local.stdout.split("\n")[0] == "False False False False ['localhost', '127.0.0.1', '[::1]']", local.stderr
    deployed = {"EXAMPLE_DEBUG": "0", "EXAMPLE_HOSTS": "example.org www.example.org"}
    site = manage(tmp_path, "shell", "--no-imports", "-c", SECURITY, **deployed)
    assert site.stdout.split("\n")[0] == "True True True True ['example.org', 'www.example.org']", site.stderr


def test_the_secret_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    keys = {manage(tmp_path, "diffsettings", "--all").stdout.split("SECRET_KEY = ")[1].split("\n")[0] for _ in range(2)}
    assert len(keys) == 1
    assert len(keys.pop()) > 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0
    given = manage(tmp_path, "diffsettings", "--all", EXAMPLE_SECRET_KEY="given").stdout
    assert "SECRET_KEY = 'given'" in given
