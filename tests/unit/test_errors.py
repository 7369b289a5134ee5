"""From an exception to what people and staff read about it."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from django_progress import errors
from django_progress.errors import ALPHABET, MAX_DETAIL, describe


class Mute(Exception):
    """An exception that can't be made into text."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Quitter(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Evasive(Exception):
    @property
    def __cause__(self) -> BaseException:  # type: ignore[override]
        raise RuntimeError("no cause")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def chained(length: int, link: str) -> BaseException:
    error = ValueError("number 0")
    for number in range(1, length):
        later = ValueError(f"number {number}")
        setattr(later, link, error)
        error = later
    return error


def circle() -> BaseException:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def deep(depth: int) -> BaseException:
    """An error under many frames; two functions in turn, so that they can't be told as one repeated line."""

    def ping(left: int) -> None:
        if not left:
            raise ValueError("bottom")
        pong(left - 1)

    def pong(left: int) -> None:
        if not left:
            raise ValueError("bottom")
        ping(left - 1)

    try:
        ping(depth)
    except ValueError as error:
        return error
    raise AssertionError


def with_notes(notes: object) -> BaseException:
    error = ValueError("noted")
    error.__notes__ = notes  # type: ignore[attr-defined]
    return error


def nested_groups(depth: int) -> BaseException:
    error: Exception = ValueError("inmost")
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    return error


# -- what is meant for people ------------------------------------------------------------


def test_words_are_shown_as_they_are() -> None:
    assert describe("No seats are left.") == ("No seats are left.", "", "")


def test_lazy_words_are_translated() -> None:
    with translation.override("de"):
        public = describe(gettext_lazy("Yes")).public
    assert public == "Ja"
    assert not isinstance(public, Promise)


def test_words_are_cleaned_and_cut() -> None:
    public = describe("a\x00b" + "x" * 100_000).public
    assert public.startswith("a\N{REPLACEMENT CHARACTER}b")
    assert len(public) == 2_000


@pytest.mark.parametrize("words", ["", "  \n", gettext_lazy("")], ids=["empty", "blank", "lazy"])
def test_empty_words_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="error must not be empty"):
        describe(words)


@pytest.mark.parametrize("given", [None, 42, ValueError, b"bytes", object()])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(TypeError, match="must be a text or an exception"):
        describe(given)  # type: ignore[arg-type]


# -- exceptions (fault 76) ---------------------------------------------------------------


def test_people_get_a_reference_and_staff_the_traceback() -> None:
    failure = describe(raised(ValueError("/etc/secret: password=hunter2")))
    assert failure.public == "Something went wrong on our side."
    assert "hunter2" in failure.detail
    assert "Traceback (most recent call last)" in failure.detail
    assert __file__ in failure.detail


def test_reference_can_be_read_aloud_and_differs() -> None:
    references = {describe(ValueError()).reference for _ in range(200)}
    assert len(references) == 200
    assert all(re.fullmatch(f"[{ALPHABET}]{{8}}", reference) for reference in references)
    assert not set("01IOU") & set(ALPHABET)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit("bye"), GeneratorExit()])
def test_exceptions_that_end_programs_are_described_too(error: BaseException) -> None:
    assert type(error).__name__ in describe(error).detail


# -- exceptions that may speak (PUBLIC_EXCEPTIONS) ---------------------------------------


class OutOfStock(Exception):
    """One that a project shows to people."""


class SoldOut(OutOfStock):
    pass


PUBLIC = [f"{__name__}.OutOfStock"]


@pytest.mark.parametrize("kind", [OutOfStock, SoldOut])
def test_named_exceptions_speak_for_themselves(settings: Any, kind: type[Exception]) -> None:
    settings.DJANGO_PROGRESS = {"PUBLIC_EXCEPTIONS": PUBLIC}
    failure = describe(raised(kind("No seats are left.")))
    assert failure.public == "No seats are left."
    assert failure.reference
    assert "Traceback" in failure.detail


def test_their_message_is_cleaned_and_cut(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"PUBLIC_EXCEPTIONS": PUBLIC, "MAX_TEXT": 10}
    public = describe(OutOfStock("a\x00\ud800" + "b" * 100)).public
    assert public == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}bbbbbb…"


class SpeechlessOutOfStock(OutOfStock):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("/etc/secret"),
        OutOfStock(),
        OutOfStock(" \n "),
        SpeechlessOutOfStock("x"),
        ExceptionGroup("of", [OutOfStock("No seats are left.")]),
    ],
    ids=["another", "empty", "blank", "speechless", "group"],
)
def test_all_others_do_not(settings: Any, error: Exception) -> None:
    settings.DJANGO_PROGRESS = {"PUBLIC_EXCEPTIONS": PUBLIC}
    assert describe(error).public == errors.GENERIC


def test_what_caused_it_and_what_it_caused_do_not_speak(settings: Any) -> None:
    settings.DJANGO_PROGRESS = {"PUBLIC_EXCEPTIONS": PUBLIC}
    inner, outer = OutOfStock("No seats are left."), ValueError("password=hunter2")
    outer.__cause__ = inner
    assert describe(outer).public == errors.GENERIC
    outer.__cause__, inner.__cause__ = None, outer
    assert describe(inner).public == "No seats are left."


@pytest.mark.parametrize("path", ["gone.Missing", "nodots", "django_progress.errors.GENERIC", 7])
def test_a_path_that_leads_nowhere_lets_nothing_out(settings: Any, path: Any) -> None:
    settings.DJANGO_PROGRESS = {"PUBLIC_EXCEPTIONS": [path, *PUBLIC]}
    assert describe(ValueError("hunter2")).public == errors.GENERIC
    assert describe(OutOfStock("None left.")).public == "None left."


def test_by_default_none_speaks() -> None:
    assert describe(OutOfStock("No seats are left.")).public == errors.GENERIC


# -- hostile ones (fault 47) -------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Mute(), "Mute"),
        (raised(Mute()), "Mute"),
        (Quitter(), "Quitter"),
        (Evasive(), "Evasive"),
        (circle(), "other"),
        (ExceptionGroup("many", [Mute(), ValueError("of them")]), "of them"),
        (nested_groups(1_000), "max_group_depth"),
        (with_notes("not a list"), "noted"),
        (with_notes([Mute()]), "noted"),
        (KeyError(10**5_000), "KeyError"),
        (SyntaxError("odd", ("file", 1, 10**9, "x" * 100_000)), "odd"),
        (UnicodeDecodeError("utf-8", b"\xff" * 100_000, 0, 1, "bad"), "UnicodeDecodeError"),
        (type("Homeless", (Exception,), {"__module__": None})(), "Homeless"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_nothing_keeps_a_failure_from_being_told(error: BaseException, told: str) -> None:
    failure = describe(error)
    assert failure.public
    assert failure.reference
    assert told in failure.detail


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
@pytest.mark.parametrize("length", [1_000, 20_000])
def test_long_chain_is_told_from_its_end(link: str, length: int) -> None:
    before = time.monotonic()
    detail = describe(chained(length, link)).detail
    assert time.monotonic() - before < 5
    assert detail.endswith(f"ValueError: number {length - 1}\n")
    assert detail.count("ValueError: number") == errors.MAX_CHAIN
    assert "number 0\n" not in detail


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_short_chain_is_told_whole(link: str) -> None:
    detail = describe(chained(5, link)).detail
    assert [f"number {number}" in detail for number in range(5)] == [True] * 5


def test_suppressed_context_is_not_told() -> None:
    error = chained(2, "__context__")
    error.__suppress_context__ = True
    assert "number 0" not in describe(error).detail


def test_huge_traceback_keeps_both_ends() -> None:
    detail = describe(deep(900)).detail
    assert len(detail) <= MAX_DETAIL + 3
    assert detail.startswith("Traceback")
    assert "…" in detail
    assert detail.endswith("ValueError: bottom\n")


def test_huge_message_is_cut() -> None:
    assert len(describe(ValueError("x" * 10_000_000)).detail) <= MAX_DETAIL + 3


def test_detail_can_be_stored_everywhere() -> None:
    detail = describe(ValueError("nul \x00, surrogate \ud800, bell \x07")).detail
    detail.encode()
    assert "\x00" not in detail


def test_endless_recursion_is_told_shortly() -> None:
    def again() -> None:
        again()

    with pytest.raises(RecursionError) as caught:
        again()
    assert "more times" in describe(caught.value).detail


def test_words_of_ours_are_read_in_the_viewers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "gettext", str.upper)
    assert errors.shown(errors.GENERIC) == errors.GENERIC.upper()
    assert errors.shown("The partner did not answer.") == "The partner did not answer."
