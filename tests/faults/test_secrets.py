"""What went wrong is told to staff; people get a sentence and a reference."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress import sharing
from django_progress.models import Process
from tests.access.asking import ANSWERED, JSON, routes, url_of
from tests.executing import execute, fresh, start
from tests.faults.browsers import browser_of
from tests.unit.conftest import engine

__all__ = ["engine"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="for ann")


SECRETS = ["hunter2", "SELECT * FROM partners", "/srv/app/settings.py", "Traceback", "LookupError", __file__]


class Refused(Exception):
    """One whose message is meant for people."""


class OutOfStock(Refused):
    pass


def _failing(error: BaseException) -> Any:
    def body(process: Process) -> None:
        try:
            raise LookupError("SELECT * FROM partners WHERE password = 'hunter2'")
        except LookupError as cause:
            raise error from cause

    return body


def _shown_to_people(process: Process, owner: User) -> dict[str, str]:
    client = browser_of(owner)
    pages = {name: client.get(url_of(name, process)) for name in routes("page") + routes("json")}
    pages |= {name: client.get(url_of(name)) for name in routes("list")}
    token = sharing.get_share_url(process).split("/")[-2]
    pages |= {name: Client().get(url_of(name, token=token)) for name in routes("link")}
    pages["verb"] = client.post(url_of("process-cancel", process), headers=JSON)
    # Streams can't be sent to this client; what they would tell stands among the events.
    assert all(page.status_code in (ANSWERED.get(name, 200), 303) for name, page in pages.items())
    return {name: page.content.decode() + str(page.headers) for name, page in pages.items()}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("attempts", [1, 2], ids=["failed", "to be tried again"])
def test_fault_76_an_exception_tells_people_nothing(ann: User, admin_client: Client, attempts: int) -> None:
    process = start(owner=ann, max_attempts=attempts, retry_delay=60)
    execute(process, _failing(RuntimeError("/srv/app/settings.py: hunter2")))
    process = fresh(process)
    assert process.status == ("failed" if attempts == 1 else "pending")
    attempt = process.attempts.get()
    for name, page in _shown_to_people(process, ann).items():
        assert not [secret for secret in SECRETS if secret in page], name
    if attempts == 1:
        body = browser_of(ann).get(url_of("process-status", process)).json()
        assert body["error"] == {"message": "Something went wrong on our side.", "reference": process.error_reference}
        assert process.error_reference in browser_of(ann).get(process.get_absolute_url()).content.decode()
    told = attempt.error_detail
    assert all(secret in told for secret in SECRETS)
    url = f"/admin/django_progress/process/{process.pk}/change/"
    page = admin_client.get(url).content.decode()
    assert "hunter2" in page
    assert attempt.error_reference in page


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("error", [Refused, OutOfStock])
def test_fault_76_only_named_exceptions_speak(ann: User, settings: Any, error: type[Exception]) -> None:
    settings.DJANGO_PROGRESS = {"PUBLIC_EXCEPTIONS": [f"{__name__}.Refused"], "MAX_TEXT": 40}
    process = start(owner=ann)
    execute(process, _failing(error("No <b>seats</b>\x00 are left on " + "x" * 100)))
    process = fresh(process)
    assert process.error == "No <b>seats</b>\N{REPLACEMENT CHARACTER} are left on xxxxxxxxxx…"
    for name, page in _shown_to_people(process, ann).items():
        assert not [secret for secret in SECRETS if secret in page], name
        assert "<b>seats" not in page or name in [*routes("json"), "verb"], name
    assert "&lt;b&gt;seats" in browser_of(ann).get(process.get_absolute_url()).content.decode()
    other = start(owner=ann)
    execute(other, _failing(ValueError("hunter2")))
    assert fresh(other).error == "Something went wrong on our side."
