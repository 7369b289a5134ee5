"""Secrets are stored whole and shown as stars."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.models import Process
from django_progress.redaction import HIDDEN, is_secret, redacted, redacted_list
from django_progress.tasks import progress_task


@pytest.mark.parametrize(
    "key",
    [
        "password", "PASSWORD", "new_password", "userPassword2", "passwd", "client_secret", "secretKey", "access-token",
        "csrfToken", "api_key", "apiKey", "API-KEY", "x.api.key", "Authorization", "credentials", "private key",
        "privateKey",
    ],
)  # fmt: skip
def test_keys_that_sound_like_secrets(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["", "name", "pass", "key", "author", "keyboard", "pin", "api", 7, None, ("a",)])
def test_keys_that_do_not(key: Any) -> None:
    assert not is_secret(key)


def test_they_are_hidden_at_any_depth_and_the_rest_is_left() -> None:
    value = {"rows": [{"token": "t", "name": "n"}, 1, None], "password": {"all": ["of", "it"]}, "secret": None}
    assert redacted(value) == {"rows": [{"token": HIDDEN, "name": "n"}, 1, None], "password": HIDDEN, "secret": HIDDEN}
    assert value["password"] == {"all": ["of", "it"]}
    for plain in ("password", 1, None, [], {}):
        assert redacted(plain) == plain


def test_the_deepest_that_can_be_stored_is_looked_through() -> None:
    value: Any = {"token": "t"}
    for _ in range(29):
        value = [value]
    assert "'t'" not in str(redacted(value))


def test_positional_arguments_go_by_the_names_of_parameters() -> None:
    values = ["ann", "hunter2", {"token": "t"}, "more"]
    assert redacted_list(values, ["user", "password"]) == ["ann", HIDDEN, HIDDEN, HIDDEN]
    assert redacted_list(values, ["password", "user"]) == [HIDDEN, "hunter2", {"token": HIDDEN}, "more"]
    assert redacted_list(values, None) == [HIDDEN] * 4
    assert redacted_list(values, []) == ["ann", "hunter2", {"token": HIDDEN}, "more"]
    assert redacted_list([], ["user", "password"]) == []


@pytest.mark.parametrize(
    ("keys", "hidden"), [(["iban"], {"IBAN"}), ([], set()), (["i.b.a.n", "token"], {"IBAN", "token"})]
)
def test_the_keys_are_a_setting(settings: Any, keys: list[str], hidden: set[str]) -> None:
    settings.DJANGO_PROGRESS = {"REDACTED_KEYS": keys}
    shown = redacted({"IBAN": 1, "token": 2})
    assert {key for key, value in shown.items() if value == HIDDEN} == hidden


@progress_task(name="tests.redaction.connect")
def connect(process: Process, host: str, password: str, **more: str) -> None: ...


@pytest.mark.django_db
@pytest.mark.usefixtures("engine")
def test_the_admin_shows_none_and_the_row_keeps_all(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_progress import engines

    monkeypatch.setattr(engines.get_engine(), "parameters", lambda name: ("host", "password"))
    ann = User.objects.create_user("ann")
    context = {"authorization": "Bearer leaked-1", "plan": "gold"}
    task = connect.using(context=context)
    process = task.start(ann, "example.org", "leaked-2", apiKey="leaked-3")
    page = admin_client.get(f"/admin/django_progress/process/{process.pk}/change/").content.decode()
    assert "leaked" not in page
    assert page.count(HIDDEN) == 3
    assert "example.org" in page
    assert "gold" in page
    stored = Process.objects.get(pk=process.pk)
    assert (stored.task_args[1], stored.task_kwargs, stored.context) == ("leaked-2", {"apiKey": "leaked-3"}, context)
