"""Numbers and times in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import timezone, translation

from django_progress.views import wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (69, "1 min"),
        (70, "1 min 10 s"),
        (599, "9 min 50 s"),
        (601, "10 min"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (86400, "1 day"),
        (2 * 86400 + 3 * 3600, "2 days 3 h"),
    ],
)
def test_durations(seconds, words):
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds left"),
        (7, "about 10 seconds left"),
        (44, "about 40 seconds left"),
        (60, "about 1 minute left"),
        (130, "about 2 minutes left"),
        (3600, "about 1 hour left"),
        (5.6 * 3600, "about 6 hours left"),
        (40 * 3600, "about 2 days left"),
    ],
)
def test_estimates(seconds, words):
    assert wording.time_left(seconds) == words


@pytest.mark.parametrize(
    ("current", "total", "unit", "words"),
    [
        (1240, None, "rows", "1,240 rows"),
        (1240, None, "", "1,240 done"),
        (11760, 28000, "rows", "11,760 of 28,000 rows"),
        (1.5, 3, "MB", "1.5 of 3 MB"),
        (2**53, None, "", "9,007,199,254,740,992 done"),
        (1 / 3, 1, "", "0.33 of 1"),
    ],
)
def test_counts(current, total, unit, words):
    assert wording.counted(current, total, unit) == words


def test_numbers_are_written_as_the_language_does():
    with translation.override("de"):
        assert wording.amount(28000) == "28.000"


@pytest.mark.parametrize(("percent", "words"), [(0, "0 %"), (99.99, "99 %"), (100, "100 %")])
def test_a_share_is_never_rounded_up(percent, words):
    assert wording.percentage(percent) == words


def test_a_time_of_today_has_no_date():
    now = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
    with timezone.override(UTC):
        assert wording.moment(datetime(2026, 3, 4, 14, 5, tzinfo=UTC), now) == "2:05 p.m."
        assert "March 3, 2026" in wording.moment(datetime(2026, 3, 3, 14, 5, tzinfo=UTC), now)
