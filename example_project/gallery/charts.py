"""Small drawings, as numbers for the attributes of SVG elements: nothing here needs inline style."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from . import places

__all__ = ["Bar", "Line", "bars", "dots", "great_circle", "project", "world"]

CELL = 2.5
"""Degrees to a unit of a map; its view box is 144 wide and 72 high."""

Point = tuple[float, float]


class Bar(NamedTuple):
    """A row of a bar chart."""

    label: str
    value: int
    share: float
    """Of the longest bar, in per cent."""


class Line(NamedTuple):
    """A way on a map, as the data of an SVG path."""

    path: str
    points: list[tuple[str, Point]]
    """The stops, each with its name."""


def bars(counts: Sequence[tuple[str, int]], limit: int = 10) -> list[Bar]:
    """Return the bars of the first ``limit`` of ``counts``, which are sorted, the largest first."""
    largest = counts[0][1] if counts else 1
    return [Bar(label, value, round(100 * value / largest, 1)) for label, value in counts[:limit]]


def project(latitude: float, longitude: float) -> Point:
    """Return where a point of the earth stands on a map (equirectangular)."""
    return round((longitude + 180) / CELL, 1), round((90 - latitude) / CELL, 1)


def dots(points: Iterable[Point]) -> str:
    """Return a path with one dot, a line of no length with round ends, for each cell that has a point in it."""
    cells = {(int((90 - latitude) / CELL), int((longitude + 180) / CELL)) for latitude, longitude in points}
    return "".join(f"M{x}.5 {y}.5h0" for y, x in sorted(cells))


@cache
def world() -> str:
    """Return the dots of all airports: a map of the inhabited world."""
    return dots((place.latitude, place.longitude) for place in places.everywhere())


def great_circle(start: Point, end: Point, steps: int = 48) -> str:
    """Return the path of the shortest way between two points, given as latitude and longitude."""
    path, before = [], None
    for latitude, longitude in _between(start, end, steps):
        x, y = project(latitude, longitude)
        # Over the edge of the map and in again at the other side.
        jump = before is None or abs(x - before) > 72
        path.append(f"{'M' if jump else 'L'}{x} {y}")
        before = x
    return "".join(path)


def _between(start: Point, end: Point, steps: int) -> Iterable[Point]:
    a, b = _vector(start), _vector(end)
    angle = math.acos(max(-1.0, min(1.0, sum(p * q for p, q in zip(a, b, strict=True)))))
    for step in range(steps + 1):
        share = step / steps
        near, far = (math.sin((1 - share) * angle), math.sin(share * angle)) if angle > 1e-6 else (1 - share, share)
        x, y, z = (near * p + far * q for p, q in zip(a, b, strict=True))
        yield math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def _vector(point: Point) -> tuple[float, float, float]:
    latitude, longitude = map(math.radians, point)
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )
