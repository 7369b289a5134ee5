"""That what is published works without the checkout it was built from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_progress"

# A whole project in one file, outside of the checkout.
PROJECT = """
import sys
from pathlib import Path

import django
from django.conf import settings
from django.urls import include, path

site, database = sys.argv[1:]
settings.configure(
    SECRET_KEY="only for tests",
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    STATIC_URL="/static/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "django_htmx",
        "django_celery_results",
        "django_progress",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_htmx.middleware.HtmxMiddleware",
    ],
)
django.setup()
urlpatterns = [path("progress/", include("django_progress.urls"))]

import django_progress
from django.contrib.auth.models import User
from django.core.management import call_command
from django.template import engines
from django.urls import reverse
from django_progress.models import Process

assert Path(django_progress.__file__).is_relative_to(site), django_progress.__file__
call_command("check", fail_level="ERROR")
call_command("migrate", verbosity=0)
call_command("makemigrations", "django_progress", check_changes=True, dry_run=True)

owner = User.objects.create_user("joe")
process = Process.objects.start("Waiting", owner=owner, max_duration=60)
template = engines["django"].from_string('{% include "django_progress/fragments/wait.html" %}')
html = template.render({"process": process})
assert "Waiting" in html, html
assert "<progress" in html, html
assert reverse("django_progress:process-wait-fragment", args=[process.key]) in html, html
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of the checkout and the wheel that was made from that sdist."""
    folder = tmp_path_factory.mktemp("packaging")
    # From a copy, since building writes beside the sources, where another run may be building too.
    generated = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.sqlite3*", "build", "dist")
    shutil.copytree(ROOT, folder / "source", ignore=generated)
    run("-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source", cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("django_progress_fragments-*.whl")
    return path


def run(*arguments: str | Path, cwd: Path, **env: str) -> None:
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    # If the package lost them, the comparison above would not notice.
    assert "django_progress/py.typed" in names
    assert "django_progress/templates/django_progress/fragments/wait.html" in names
    assert any(name.startswith("django_progress/static/django_progress/") for name in names)


def test_wheel_carries_the_license(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert "License-Expression: MIT\n" in text
    assert "Requires-Python: >=3.11\n" in text


def test_sdist_holds_what_its_tests_need(built: Path) -> None:
    (path,) = built.glob("django_progress_fragments-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"LICENSE", "README.md", "manage.py", "setup.cfg", "tox.ini", "tests/settings.py"}


def test_installed_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    # Its dependencies are those of this environment, so nothing is downloaded.
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel, cwd=tmp_path)
    project = tmp_path / "project.py"
    project.write_text(PROJECT)
    run(project, site, tmp_path / "db.sqlite3", cwd=tmp_path, PYTHONPATH=str(site))
