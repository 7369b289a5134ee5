"""The newest events of one process, which are kept for all that read them."""

from __future__ import annotations

from django.utils import timezone

from django_progress.models import Event
from django_progress.push.ring import MOST, MOST_BYTES, Encoded, Ring


def line(seq: int, size: int = 10) -> Encoded:
    event = Event(seq=seq, type="log", message="x" * size, happened_at=timezone.now())
    return Encoded(event, "key", ["en"])


def test_a_ring_keeps_the_newest() -> None:
    ring = Ring(4, "key")
    assert ring.after(4) == ring.after(9) == []
    assert ring.after(3) is None
    ring.add(map(line, range(5, 8)))
    assert [entry.event.seq for entry in ring.after(4) or ()] == [5, 6, 7]
    assert [entry.event.seq for entry in ring.after(6) or ()] == [7]
    assert ring.after(3) is None
    ring.add(map(line, range(6, 9)))
    assert [entry.event.seq for entry in ring.after(5) or ()] == [6, 7, 8]
    ring.add([line(11)])
    assert ring.after(8) is None
    assert [entry.event.seq for entry in ring.after(10) or ()] == [11]


def test_a_ring_is_bounded() -> None:
    ring = Ring(0, "key")
    ring.add(map(line, range(1, MOST + 11)))
    assert ring.after(9) is None
    assert len(ring.after(10) or ()) == MOST
    ring.add(line(seq, MOST_BYTES // 3) for seq in range(MOST + 11, MOST + 20))
    assert len(ring.after(MOST + 17) or ()) == 2
    assert ring.after(MOST + 10) is None
    ring.add([line(MOST + 20, MOST_BYTES * 2)])
    assert len(ring.after(MOST + 19) or ()) == 1
