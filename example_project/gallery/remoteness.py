"""Which airport is farthest from any other? Found out by comparing each with all the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .places import Place, distance

__all__ = ["Ranking"]


class Ranking:
    """The most remote of some places."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.vectors = [_vector(place) for place in places]
        self.index = {place: index for index, place in enumerate(places)}
        self.farthest = 0.0
        self.neighbours: list[tuple[float, Place, Place]] = []

    def measure(self, place: Place) -> bool:
        """Find the nearest neighbour of ``place``, and return whether that is farther away than any before.

        On a sphere it is the one whose vector has the largest dot product.
        """
        own = self.index[place]
        x, y, z = self.vectors[own]
        products = [a * x + b * y + c * z for a, b, c in self.vectors]
        products[own] = -math.inf
        neighbour = self.places[products.index(max(products))]
        kilometres = distance(place, neighbour)
        self.neighbours.append((kilometres, place, neighbour))
        is_record = kilometres > self.farthest
        self.farthest = max(kilometres, self.farthest)
        return is_record

    def top(self, count: int = 10) -> list[dict[str, Any]]:
        """Return the most remote ones, farthest first: JSON, for the process to keep."""
        ranked = sorted(self.neighbours, key=lambda found: found[0], reverse=True)[:count]
        return [
            {"place": place.as_json(), "neighbour": neighbour.as_json(), "kilometres": round(kilometres)}
            for kilometres, place, neighbour in ranked
        ]


def _vector(place: Place) -> tuple[float, float, float]:
    latitude, longitude = math.radians(place.latitude), math.radians(place.longitude)
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )
