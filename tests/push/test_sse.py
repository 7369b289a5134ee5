"""The encoder, read back by a parser that is not ours."""

from __future__ import annotations

import random
import re

import pytest
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder, SSELineDecoder

from django_progress.push import sse


def parsed(data: bytes, sizes: random.Random | None = None) -> list[ServerSentEvent]:
    """Return what a strict parser makes of it, torn apart anywhere."""
    text, lines, decoder = data.decode(), SSELineDecoder(), SSEDecoder()
    found = []
    while text:
        size = sizes.randint(1, 7) if sizes else len(text)
        piece, text = text[:size], text[size:]
        found += [event for line in lines.decode(piece) if (event := decoder.decode(line))]
    return found


def test_an_event() -> None:
    assert sse.encode("hello", event="live", id=7) == b"id: 7\nevent: live\ndata: hello\n\n"
    assert sse.encode("hello") == b"data: hello\n\n"
    assert sse.encode("") == b"data: \n\n"


@pytest.mark.parametrize(
    "text",
    [
        "two\nlines", "two\r\nlines", "two\rlines", "\n", "\n\n", "\r\n\r\n", "ends\n", "\nbegins", "a\r\r\nb\n\rc",
        "id: 9\nevent: other\nretry: 1\n\ndata: forged", ": a comment", " indented", "data: data", "\ufeffmark",
        "line\u2028separator\u2029and\x85next\x0bline\x0cfeed\x1c", "😀 ‮",
    ],
)  # fmt: skip
def test_any_text_arrives_as_it_is(text: str) -> None:
    found = parsed(sse.encode(text, id=3) + sse.encode("next", id=4), random.Random(1))
    assert [event.data for event in found] == [re.sub("\r\n|\r", "\n", text), "next"]
    assert [event.id for event in found] == ["3", "4"]
    assert {event.event for event in found} == {"message"}


def test_texts_drawn_by_lot_arrive_as_they_are() -> None:
    draw = random.Random(61)
    for _turn in range(500):
        text = "".join(draw.choices(["\r", "\n", "\r\n", ":", " ", "id: 1", "data", "é", "x", "\0"], k=12))
        found = parsed(sse.encode(text, event="live"), draw)
        assert [(event.event, event.data) for event in found] == [
            ("live", re.sub("\r\n|\r", "\n", text.replace("\0", "")))
        ]


def test_what_is_no_text_is_sent_all_the_same() -> None:
    assert sse.encode("a\0b\ud800c") == b"data: ab?c\n\n"


def test_a_type_is_a_word() -> None:
    for event in ("two words", "a\nb", "a:b"):
        with pytest.raises(ValueError, match="word"):
            sse.encode("", event=event)


def test_a_comment_is_no_event() -> None:
    said = sse.comment() + sse.comment("two\nlines\r\rof it") + sse.encode("x")
    assert [event.data for event in parsed(said)] == ["x"]


def test_the_advice_when_to_come_back() -> None:
    assert [event.retry for event in parsed(sse.retry(1500))] == [1500]
