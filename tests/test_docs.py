"""That the code in the documents is a project that works, and that what they list is what there is."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_progress.conf import DEFAULTS
from django_progress.conf import settings as ours

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
ACCESS = (ROOT / "docs/access.md").read_text()

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

START = """
import shop.celery

import django
django.setup()

from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.management import call_command
from django.http import Http404
from django.template import Context, Template
from django.test import Client, RequestFactory

call_command("migrate", verbosity=0)
call_command("check", fail_level="WARNING")

from django_progress import access
from django_progress.models import AuditEntry, Process
from shop import tasks, views
"""

VISIT = """
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


VISIT_ACCESS = """
ann, ben, cora, dora = (User.objects.create_user(name, password="x") for name in ("ann", "ben", "cora", "dora"))
Group.objects.create(name="sales").user_set.set([ann, cora])
Group.objects.create(name="support").user_set.set([ann, cora])


def ask(view, user, *, session=None, method="post", **arguments):
    data = arguments.pop("data", {})
    request = getattr(RequestFactory(), method)("/", data)
    request.user = user
    request.session = session
    return view(request, **arguments)


def is_404(view, user):
    try:
        ask(view, user, method="get", key=process.key)
    except Http404:
        return True
    return False


process = Process.objects.start("Report", owner=ann)
assert b'"mine": true' in ask(views.report, ann, method="get", key=process.key).content
assert is_404(views.report, ben) and is_404(views.report, AnonymousUser())

# Its rules of its own: the members of a group see each other's, once each.
assert b'"mine": false' in ask(views.report, cora, method="get", key=process.key).content
request = RequestFactory().get("/")
request.user = cora
assert list(access.visible_to(request)) == [process]
assert cora.has_perm("django_progress.view_process", process)
assert not cora.has_perm("django_progress.change_process", process)
assert ann.has_perm("django_progress.change_process", process)

# A visitor, who then logs in.
browser = Client()
session = browser.session
answer = ask(views.search, AnonymousUser(), session=session, data={"query": "x"})
session.save()
browser.cookies["sessionid"] = session.session_key
search = Process.objects.latest("pk")
assert answer["Location"] == search.get_wait_url() and search.owner is None
assert browser.get(search.get_absolute_url()).status_code == 200
assert Client().get(search.get_absolute_url()).status_code == 302
browser.login(username="dora", password="x")
assert Process.objects.get(pk=search.pk).owner == dora
assert browser.get(search.get_absolute_url()).status_code == 200

# Sharing, by link too.
assert ask(views.share, ann, key=process.key, data={"with": "ben"})["Location"] == process.get_absolute_url()
assert ben.has_perm("django_progress.view_process", process)
link = ask(views.make_link, ann, key=process.key).content.decode()
assert link.startswith("http://testserver/progress/shared/")
stranger = Client()
assert stranger.get(link).status_code == 200
ask(views.take_back, ann, key=process.key)
assert stranger.get(link).status_code == 404
assert is_404(views.report, ben)

# Words that people may read, and others.
from shop.errors import OutOfStock

wrong = "Something went wrong on our side."
for error, said in ((OutOfStock("None left."), "None left."), (ValueError("secret"), wrong)):
    failed = Process.objects.start("Order", owner=ann)
    failed.fail(error)
    assert failed.error == said

assert ask(views.stop_everything, ann).status_code == 204
process.refresh_from_db()
assert process.status == "cancelled"
done = [(entry.action, entry.via, entry.actor_name) for entry in AuditEntry.objects.order_by("pk")]
assert done == [
    ("claimed", "web", "dora"), ("shared", "code", "ann"), ("linked", "code", "ann"),
    ("unshared", "code", "ann"), ("unlinked", "code", "ann"), ("cancelled", "api", "ann"),
], done
print("It works.")
"""


def blocks(language: str, page: str = README) -> list[str]:
    """Return a document's code in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def visit(folder: Path, pages: list[str], program: str) -> None:
    """Make a project of the code in ``pages``, and run ``program`` in it."""
    files: dict[str, str] = {"settings.py": BASE, "celery.py": CELERY, "__init__.py": ""}
    for block in itertools.chain.from_iterable(blocks("python", page) for page in pages):
        first, _, code = block.partition("\n")
        name = re.fullmatch(r"# (\w+\.py)", first)
        assert name, f"A block doesn't say which file it is of: {first!r}"
        files[name[1]] = f"{files.get(name[1], '')}\n{code}"
    assert {"settings.py", "urls.py", "tasks.py", "views.py"} <= set(files)
    (folder / "shop").mkdir()
    for file, code in files.items():
        (folder / "shop" / file).write_text(code)
    (folder / "visit.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:shop", "visit.py"],
        cwd=folder,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.endswith("It works.\n")


def test_code_of_the_readme_is_a_project_that_works(tmp_path: Path) -> None:
    (html,) = blocks("html")
    visit(tmp_path, [README], START + VISIT.replace("PAGE", repr(html)))


def test_code_about_access_works_in_that_project(tmp_path: Path) -> None:
    visit(tmp_path, [README, ACCESS], START + VISIT_ACCESS)


def test_settings_of_the_readme_are_those_there_are() -> None:
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", table, re.MULTILINE))
    assert list(listed) == ours.names()
    for name, shown in listed.items():
        default = DEFAULTS[name]
        told = shown.strip("`").strip('"')
        if isinstance(default, tuple):
            assert told == str([int(item) if isinstance(item, float) else item for item in default]), name
        elif isinstance(default, (str, dict)):
            assert told == str(default), name
        else:
            assert float(told) == default, name


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/access.md",
        "docs/api.md",
        "docs/architecture.md",
        "docs/decisions.md",
        "docs/push.md",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target
