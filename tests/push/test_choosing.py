"""How ``WAKE_UPS`` chooses an adapter, what the system check says of it, and what the doctor."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_progress.checks import check_settings
from django_progress.doctor import Finding, Level
from django_progress.push import reaching
from django_progress.push.redis import RedisWakeUps
from django_progress.push.wakeups import configured
from tests.private import SilentPort
from tests.push.channels import CHANNELS, Channel, HereWakeUps


@pytest.mark.parametrize("scheme", ["redis://localhost", "rediss://localhost:6380/1", "unix:///run/redis.sock"])
def test_addresses(settings: Any, scheme: str) -> None:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": scheme}
    assert isinstance(configured(), RedisWakeUps)
    assert check_settings() == []


WRONG = {
    "amqp://localhost": ("an address of 'amqp'", "Known are redis://"),
    "redis://localhost:port": ("an address of 'redis' that its client doesn't take", "redis://localhost:6379/0"),
    "gone.WakeUps": ("can't be imported", "dotted path"),
    "redis": ("can't be imported", "redis://localhost:6379/0"),
    "tests.push.channels.Gone": ("can't be imported", "dotted path"),
    "tests.push.channels.Channel": ("no class with has_channel, send() and listen()", "WakeUps"),
    "tests.push.channels.open_channel": ("no class with has_channel", "WakeUps"),
    "django_progress.push.redis.RedisWakeUps": ("can't be called without arguments", ""),
}


@pytest.mark.parametrize("chosen", WRONG)
def test_what_is_wrong_is_said_with_what_to_do(settings: Any, chosen: str) -> None:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": chosen}
    what, fix = WRONG[chosen]
    with pytest.raises(ImproperlyConfigured):
        configured()
    [found] = check_settings()
    assert found.id == "django_progress.E006"
    assert what in found.msg
    assert found.hint
    assert fix in found.hint


def test_a_password_is_not_said(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": "redis://:hush@localhost:hush/0"}
    [found] = check_settings()
    assert "hush" not in found.msg + (found.hint or "")


def test_the_client_may_be_missing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "django_progress.push.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    settings.DJANGO_PROGRESS = {"WAKE_UPS": "redis://localhost"}
    [found] = check_settings()
    assert "can't be imported" in found.msg
    assert found.hint == "Install django-progress-fragments[redis]."


# The doctor


def only() -> Finding:
    [finding] = reaching.examine()
    return finding


def test_the_doctor_says_that_there_are_none(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {}
    assert only().level == Level.INFO
    settings.DJANGO_PROGRESS = {"STREAMS": "never"}
    assert list(reaching.examine()) == []
    settings.DJANGO_PROGRESS = {"WAKE_UPS": "amqp://localhost"}
    assert list(reaching.examine()) == []


@pytest.mark.parametrize("channel", CHANNELS, indirect=True)
def test_the_doctor_sends_a_word_and_hears_it(channel: Channel, settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"WAKE_UPS": channel.setting}
    assert only().level == Level.OK
    channel.kill()
    assert only().level == Level.ERROR
    channel.start()
    assert only().level == Level.OK


def test_the_doctor_does_not_wait_for_ever(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HereWakeUps, "send", lambda self, words: None)
    monkeypatch.setattr(reaching, "PATIENCE", 0.3)
    settings.DJANGO_PROGRESS = {"WAKE_UPS": "tests.push.channels.HereWakeUps"}
    assert only().level == Level.ERROR
    assert "no answer within 0.3 s" in only().text
    with SilentPort() as silent:
        settings.DJANGO_PROGRESS = {"WAKE_UPS": f"redis://127.0.0.1:{silent.port}"}
        assert only().level == Level.ERROR
