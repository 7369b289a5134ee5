"""That the README's code is a project that works, and that what it lists is what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_progress.conf import Defaults
from django_progress.conf import settings as ours

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()

BASE = """
SECRET_KEY = "only here"
ROOT_URLCONF = "shop.urls"
USE_TZ = True
ALLOWED_HOSTS = ["testserver"]
STATIC_URL = "/static/"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "shop"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
}]
CELERY_TASK_ALWAYS_EAGER = True
"""

CELERY = """
from celery import Celery

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
"""

VISIT = """
import shop.celery

import django
django.setup()

from django.contrib.auth.models import AnonymousUser, User
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client, RequestFactory

call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")

from django_progress.models import Process
from shop import tasks, views

ann = User.objects.create_user("ann")
client = Client()
client.force_login(ann)


def post(view, **arguments):
    request = RequestFactory().post("/")
    request.user = ann
    return view(request, **arguments)


answer = post(views.start_import)
process = Process.objects.get()
assert answer.status_code == 303 and answer["Location"] == process.get_wait_url(), answer
assert (process.owner, process.status, process.result) == (ann, "succeeded", {"imported": 2}), process.status
assert (process.current, process.total, process.unit) == (2, 2, "rows")
assert client.get(process.get_wait_url())["Location"] == "/"
assert client.get(process.get_absolute_url()).status_code == 200
assert client.get("/progress/").status_code == 200

search = tasks.search_flights.start(ann, query="flight #1234")
assert search.result == ["flight #1234, via Lisbon"], search.result
assert [event.name for event in search.milestones] == ["started", "ours", "partners"]

connecting = tasks.connect.using(max_attempts=3).start(None, "127.0.0.1:1")
assert (connecting.status, connecting.attempts.count()) == ("failed", 3)

post(views.order)
parcel = Process.objects.get(redirect_url="/parcels/")
assert parcel.status == "running"
post(views.hand_over, key=parcel.key)
parcel.refresh_from_db()
assert (parcel.status, parcel.result, parcel.finished_url) == ("succeeded", {"signed": True}, "/parcels/")

request = RequestFactory().get("/")
request.user = ann
page = Template(PAGE).render(Context({"process": parcel, "request": request}))
assert "What is to be seen once it has succeeded" in page
assert str(parcel.key) in page
print("It works.")
"""


def blocks(language: str) -> list[str]:
    """Return the README's code in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_code_of_the_readme_is_a_project_that_works(tmp_path: Path) -> None:
    files: dict[str, str] = {"settings.py": BASE, "celery.py": CELERY, "__init__.py": ""}
    for block in blocks("python"):
        first, _, code = block.partition("\n")
        name = re.fullmatch(r"# (\w+\.py)", first)
        assert name, f"A block of the README doesn't say which file it is of: {first!r}"
        files[name[1]] = f"{files.get(name[1], '')}\n{code}"
    assert {"settings.py", "urls.py", "tasks.py", "views.py"} <= set(files)
    (tmp_path / "shop").mkdir()
    for file, code in files.items():
        (tmp_path / "shop" / file).write_text(code)
    (html,) = blocks("html")
    (tmp_path / "visit.py").write_text(VISIT.replace("PAGE", repr(html)))
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:shop", "visit.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.endswith("It works.\n")


def test_settings_of_the_readme_are_those_there_are() -> None:
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", table, re.MULTILINE))
    assert list(listed) == ours.names()
    for name, shown in listed.items():
        default = getattr(Defaults, name)
        told = shown.strip("`").strip('"')
        if isinstance(default, tuple):
            assert told == str([int(item) if isinstance(item, float) else item for item in default]), name
        elif isinstance(default, str):
            assert told == default, name
        else:
            assert float(told) == default, name


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/decisions.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target
