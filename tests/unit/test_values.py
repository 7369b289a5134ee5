"""The gate in: what is cleaned, what is cut and what is refused, before any database sees it."""

from __future__ import annotations

import enum
import json
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.test import override_settings
from django.utils import translation
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy, ngettext_lazy, npgettext_lazy, pgettext_lazy

from django_progress import values
from django_progress.status import TERMINAL

FFFD = "\N{REPLACEMENT CHARACTER}"


class Mute:
    """Can't be made into text."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


# -- text (fault 45) ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("", ""),
        (None, ""),
        (5, "5"),
        ("plain", "plain"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("one\r\ntwo\rthree\u2028four\u2029five", "one\ntwo\nthree\nfour\nfive"),
        ("nul\x00bell\x07del\x7fescape\x1b", f"nul{FFFD}bell{FFFD}del{FFFD}escape{FFFD}"),
        ("\ud800", FFFD),
        ("\ud83d\ude00", FFFD * 2),
        ("😀 👩‍👩‍👧 é e\u0301 \u202eevil\u202c", "😀 👩‍👩‍👧 é e\u0301 \u202eevil\u202c"),
        (gettext_lazy("Yes"), "Yes"),
    ],
    ids=ascii,
)
def test_text_is_what_every_database_stores(given: object, stored: str) -> None:
    result = values.text(given, "value")
    assert result == stored
    assert type(result) is str
    result.encode()


def test_long_text_is_cut_with_a_mark() -> None:
    assert values.text("x" * 1_000_000, "value") == "x" * 1_999 + "…"
    assert values.text("x" * 2_000, "value") == "x" * 2_000
    assert values.text("😀" * 33, "value", limit=32) == "😀" * 31 + "…"
    assert len(values.text("\r\n" * 3_000, "value")) <= 2_000


@override_settings(DJANGO_PROGRESS={"MAX_TEXT": 10})
def test_limit_is_a_setting() -> None:
    assert values.text("x" * 11, "value") == "x" * 9 + "…"


@pytest.mark.parametrize("given", [b"bytes", bytearray(b"bytes"), memoryview(b"bytes")])
def test_bytes_are_no_text(given: object) -> None:
    with pytest.raises(TypeError, match=r"value must be text, not .*; decode it first"):
        values.text(given, "value")


@pytest.mark.parametrize("given", [Mute(), 10**5_000], ids=["mute", "too many digits"])
def test_what_has_no_words_is_named(given: object) -> None:
    with pytest.raises(TypeError, match=r"value must be text, and this (Mute|int) can't"):
        values.text(given, "value")


@pytest.mark.parametrize("given", ["", None, " \t\n"])
def test_required_text(given: object) -> None:
    with pytest.raises(ValueError, match="key must not be empty"):
        values.text(given, "key", required=True)


# -- translations ------------------------------------------------------------------------


def test_lazy_translation_is_translated_for_each_reader() -> None:
    with translation.override("de"):
        stored, params = values.translatable(gettext_lazy("Yes"), "description")
    assert (stored, params) == ("Yes", {})
    with translation.override("de"):
        assert values.public_text(stored, params) == "Ja"
    assert values.public_text(stored, params) == "Yes"


def test_parameters_are_filled_in_when_shown() -> None:
    stored, params = values.translatable(gettext_lazy("Found %(n)d rows"), "description", {"n": 3, "other": 1})
    assert stored == "Found %(n)d rows"
    assert values.public_text(stored, params) == "Found 3 rows"


def test_plain_text_is_never_translated() -> None:
    stored, params = values.translatable("Yes", "description", {"n": 3})
    assert (stored, params) == ("Yes", None)
    with translation.override("de"):
        assert values.public_text(stored, params) == "Yes"
    assert values.public_text("100 % of %(n)s", None) == "100 % of %(n)s"


@pytest.mark.parametrize(
    ("lazy", "params", "stored"),
    [
        (pgettext_lazy("answer", "Yes"), None, "Yes"),
        (pgettext_lazy("found", "Found %(n)d"), {"n": 3}, "Found 3"),
        (ngettext_lazy("%(n)d row", "%(n)d rows", "n"), {"n": 1}, "1 row"),
        (ngettext_lazy("%(n)d row", "%(n)d rows", "n"), {"n": 3, "other": 1}, "3 rows"),
        (npgettext_lazy("found", "%(n)d row", "%(n)d rows", "n"), {"n": 3}, "3 rows"),
        (ngettext_lazy("a row", "rows", 3), None, "rows"),
        (ngettext_lazy("%(n)d row", "%(n)d rows", 3), {"n": 3}, "3 rows"),
        (format_lazy("{}: {}", gettext_lazy("Yes"), 3), None, "Yes: 3"),
        (format_lazy("{}: 100 % sure", gettext_lazy("Yes")), {"n": 3}, "Yes: 100 % sure"),
        (format_lazy("{}: %(missing)s", gettext_lazy("Yes")), {"n": 3}, "Yes: %(missing)s"),
        (ngettext_lazy("%d row", "%d rows", 3), {"n": 3}, "%d rows"),
        (gettext_lazy("%(n)d rows") % {"n": 3}, {"n": 3}, "3 rows"),
    ],
    ids=str,
)
def test_other_lazy_text_is_translated_at_once(lazy: object, params: Mapping[str, Any] | None, stored: str) -> None:
    assert values.translatable(lazy, "description", params) == (stored, None)


@pytest.mark.parametrize("params", [None, {}, {"other": 3}])
def test_plural_without_its_number_is_refused(params: Mapping[str, Any] | None) -> None:
    with pytest.raises(ValueError, match="description depends on a number"):
        values.translatable(ngettext_lazy("%(n)d row", "%(n)d rows", "n"), "description", params)


def test_plural_whose_number_has_no_name_is_refused() -> None:
    with translation.override("de"), pytest.raises(ValueError, match="description depends on a number"):
        values.translatable(ngettext_lazy("%d row", "%d rows"), "description", {"n": 3})


@pytest.mark.parametrize(
    ("msgid", "params"),
    [
        ("100 % sure", {"n": 1}),
        ("%(n)d is 100 % of %(n)d", {"n": "one"}),
        ("%(missing)s", {"n": 1}),
        ("%(n)d rows", {"n": "three"}),
        ("%(n)c", {"n": 10**10}),
        ("%s and %s", {"n": 1}),
        ("%(n", {"n": 1}),
    ],
)
def test_parameters_that_do_not_fit_leave_the_text_alone(msgid: str, params: Mapping[str, Any]) -> None:
    assert values.public_text(msgid, params) == msgid


def test_empty_text_is_not_the_catalogues_header() -> None:
    with translation.override("de"):
        assert values.public_text("", {}) == ""


def test_required_translation() -> None:
    with pytest.raises(ValueError, match="description must not be empty"):
        values.translatable(gettext_lazy(""), "description", required=True)


# -- names and kinds ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["partners", "step-2", "a" * 64, "Über", "看", "#.parse.load", "<script>", "Done"])
def test_milestone_names(name: str) -> None:
    assert values.milestone_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\tb", "a\n", "a\u00a0b", "a\u200bb", "\u202ea", "a\x00", "\ud800", "a" * 65, "a\u2028b"],
    ids=ascii,
)
def test_milestone_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 visible characters"):
        values.milestone_name(name)


@pytest.mark.parametrize("name", [None, 1, b"bytes", gettext_lazy("lazy"), ["list"]])
def test_milestone_name_is_a_str(name: object) -> None:
    with pytest.raises(TypeError, match="A milestone's name must be a str"):
        values.milestone_name(name)


@pytest.mark.parametrize(("name", "verb"), [("started", "start"), ("done", "succeed"), ("failed", "fail")])
def test_reserved_milestone_names_the_verb(name: str, verb: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' is reserved: it is reached by {verb}\(\)"):
        values.milestone_name(name)


def test_event_types() -> None:
    assert values.event_type("FraudCheckStarted") == "FraudCheckStarted"
    with pytest.raises(ValueError, match="type must be"):
        values.event_type("two words")


@pytest.mark.parametrize("status", TERMINAL)
def test_event_types_of_the_ends_are_reserved(status: str) -> None:
    with pytest.raises(ValueError, match="is reserved: it says how a process ended"):
        values.event_type(str(status))


@pytest.mark.parametrize("kind", ["", "flight-search", "A_1", "a" * 100])
def test_kinds(kind: str) -> None:
    assert values.kind(kind) == kind


@pytest.mark.parametrize("kind", ["a b", "ä", "a/b", "../a", "a\n", "a" * 101, "<b>", "."])
def test_kinds_that_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="kind must be a slug"):
        values.kind(kind)


@pytest.mark.parametrize("kind", [None, 3, gettext_lazy("lazy")])
def test_kind_is_a_str(kind: object) -> None:
    with pytest.raises(TypeError, match="kind must be a str"):
        values.kind(kind)


# -- numbers (fault 43) ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "stored"),
    [(0, 0), (-0.0, 0), (1, 1), (2.5, 2.5), (Decimal("1.5"), 1.5), (Fraction(1, 2), 0.5), (2**53, 2.0**53)],
)
def test_numbers(given: object, stored: float) -> None:
    result = values.number(given, "total")
    assert result == stored
    assert type(result) is float
    assert math.copysign(1, result) == 1


@pytest.mark.parametrize(
    "given",
    [-1, -1e-9, math.nan, math.inf, -math.inf, 10**400, -(10**400), 2.0**54, Decimal("NaN"), Decimal("sNaN"),
     Decimal("Infinity"), Decimal(10) ** 500],
    ids=lambda value: f"{type(value).__name__} {str(value)[:12]}",
)  # fmt: skip
def test_numbers_out_of_range(given: object) -> None:
    with pytest.raises(ValueError, match=r"total must be between 0 and 2\*\*53"):
        values.number(given, "total")


@pytest.mark.parametrize("given", [True, False, None, "5", b"5", bytearray(b"5"), [], 1j, Mute()], ids=type)
def test_numbers_of_a_wrong_type(given: object) -> None:
    with pytest.raises(TypeError, match="total must be a number, not "):
        values.number(given, "total")


@pytest.mark.parametrize("given", [0, -1, 2**31, 10**400, -(10**5_000)], ids=["0", "-1", "2**31", "huge", "negative"])
def test_counts_out_of_range(given: int) -> None:
    with pytest.raises(ValueError, match="max_attempts must be at least 1"):
        values.count(given, "max_attempts", least=1)


@pytest.mark.parametrize("given", [True, 1.0, "1", None, Decimal(1)], ids=type)
def test_counts_of_a_wrong_type(given: object) -> None:
    with pytest.raises(TypeError, match="max_attempts must be an int"):
        values.count(given, "max_attempts")


def test_counts() -> None:
    assert values.count(1, "max_attempts", least=1) == 1
    assert values.count(2**31 - 1, "max_attempts") == 2**31 - 1


# -- durations ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(0, 0), (5, 5), (0.5, 0.5), (timedelta(minutes=2), 120), (timedelta(0), 0), (10 * 366 * 86400, 316_224_000)],
)
def test_durations(given: object, seconds: float) -> None:
    result = values.duration(given, "lease")
    assert result == seconds
    assert type(result) is float


@pytest.mark.parametrize(
    "given",
    [-1, -0.001, math.nan, math.inf, 10**400, 10**5_000, 316_224_001, timedelta(seconds=-1), timedelta.max],
    ids=lambda value: str(value)[:12] if not isinstance(value, int) or value < 10**9 else "huge",
)
def test_durations_out_of_range(given: object) -> None:
    with pytest.raises(ValueError, match="lease must be between 0 seconds and ten years"):
        values.duration(given, "lease")


@pytest.mark.parametrize("given", [True, None, "5", Decimal(5), time(1)], ids=type)
def test_durations_of_a_wrong_type(given: object) -> None:
    with pytest.raises(TypeError, match="lease must be seconds or a timedelta"):
        values.duration(given, "lease")


def test_positive_durations() -> None:
    assert values.positive_duration(timedelta(milliseconds=1), "lease") == 0.001
    for nothing in (0, -0.0, timedelta(0)):
        with pytest.raises(ValueError, match="lease must be more than 0 seconds"):
            values.positive_duration(nothing, "lease")


# -- JSON (fault 46) ---------------------------------------------------------------------


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (None, None),
        (True, True),
        ([], []),
        ({}, {}),
        ((1, (2, "three")), [1, [2, "three"]]),
        (
            {1: "int", None: "none", False: "bool", 1.5: "float"},
            {"1": "int", "null": "none", "false": "bool", "1.5": "float"},
        ),
        ({"b": 1, "a": {"c": [1.5, None]}}, {"b": 1, "a": {"c": [1.5, None]}}),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2030, 1, 2), "2030-01-02"),
        (datetime(2030, 1, 2, tzinfo=UTC), "2030-01-02T00:00:00Z"),
        (timedelta(seconds=90), "P0DT00H01M30S"),
        (gettext_lazy("Yes"), "Yes"),
        (Colour.RED, "red"),
        (Size.BIG, 3),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, "9223372036854775808"),
        (10**400, "1" + "0" * 400),
        ({2**70: 1}, {str(2**70): 1}),
        ("one\r\ntwo\ttab \x1b[0m\u2028", "one\r\ntwo\ttab \x1b[0m\u2028"),
        ({"a\x00": [{"\ud800": "\udfff\x00"}]}, {f"a{FFFD}": [{FFFD: FFFD * 2}]}),
        ("\ud83d\ude00", FFFD * 2),
        ({"\x00": 1, FFFD: 2}, {FFFD: 2}),
        ("😀" * 10, "😀" * 10),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_json_is_what_will_be_read_back(given: object, stored: object) -> None:
    result = values.as_json(given, "context")
    assert result == stored
    assert json.loads(json.dumps(result)) == stored
    assert "\\u0000" not in json.dumps(result)
    json.dumps(result, ensure_ascii=False).encode()


class Unruly(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no items")


@pytest.mark.parametrize(
    "given",
    [
        math.nan,
        [math.inf],
        {"a": {"b": -math.inf}},
        {math.nan: 1},
        circular(),
        {1, 2},
        b"bytes",
        object(),
        Mute(),
        {(1, 2): "tuple"},
        {b"bytes": 1},
        10**5_000,
        {10**5_000: 1},
        time(1, tzinfo=UTC),
        Unruly(a=1),
        format_lazy("{missing}"),
        lambda: None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_place_in_json(given: object) -> None:
    with pytest.raises(TypeError, match="context can't be stored as JSON"):
        values.as_json(given, "context")


@pytest.mark.parametrize("given", [nested(30), {"a": nested(29)}], ids=["list", "dict"])
def test_deep_enough(given: object) -> None:
    assert values.as_json(given, "context") == given


@pytest.mark.parametrize("levels", [31, 500, 5_000, 100_000])
def test_too_deep(levels: int) -> None:
    with pytest.raises(ValueError, match="context is nested more than 30 levels deep"):
        values.as_json(nested(levels), "context")


def test_too_large() -> None:
    assert values.as_json("x" * 999_998, "context")
    for given in ("x" * 999_999, "é" * 500_000, ["x" * 1_000] * 1_000):
        with pytest.raises(ValueError, match="context is larger than 1000000 bytes of JSON"):
            values.as_json(given, "context")
    with pytest.raises(ValueError, match="larger than 10 bytes"):
        values.as_json("x" * 9, "context", limit=10)


def test_json_is_a_copy() -> None:
    given = {"rows": [1]}
    stored = values.as_json(given, "context")
    given["rows"].append(2)
    assert stored == {"rows": [1]}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "builtins.object"),
        (Mute(), f"{__name__}.Mute"),
        (nested(100_000), "builtins.list"),
        (circular(), "builtins.list"),
        ("x" * 50_000_000, "builtins.str"),
        (list(range(1_000_000)), "builtins.list"),
        (10**5_000, "builtins.int"),
        (type("Homeless", (), {"__module__": None})(), "None.Homeless"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("reason", [ValueError("x" * 10_000), type("Dumb", (Exception,), {"__str__": Mute.__str__})()])
def test_summary_stands_for_what_can_not_be_stored(value: object, kind: str, reason: Exception) -> None:
    summary = values.summary(value, reason)
    assert summary["type"] == kind
    assert summary["summary"]
    assert summary["not_stored"]
    assert values.as_json(summary, "summary", limit=3_000) == summary


# -- every gate is deterministic ---------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "given"),
    [
        (lambda value: values.text(value, "x"), "a\r\nb\x00" * 3_000),
        (lambda value: values.as_json(value, "x"), {"a\x00": ["\ud800", 2**70, Decimal(1)]}),
        (lambda value: values.number(value, "x"), Decimal("0.1")),
        (lambda value: values.duration(value, "x"), timedelta(hours=1)),
    ],
    ids=["text", "json", "number", "duration"],
)
def test_what_came_through_comes_through_unchanged(gate: Callable[[Any], Any], given: object) -> None:
    assert gate(gate(given)) == gate(given)
