"""The world's airports, as the ``airportsdata`` package knows them, and the distances between them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import airportsdata

__all__ = ["AIRPORTS_CSV", "Place", "by_iata", "by_icao", "distance", "everywhere", "find", "suggest"]

AIRPORTS_CSV = Path(airportsdata.__file__).with_name("airports.csv")

EARTH_RADIUS = 6371.0088
"""Mean radius in kilometres (IUGG)."""


class Place(NamedTuple):
    """An airport."""

    icao: str
    iata: str
    name: str
    city: str
    country: str
    latitude: float
    longitude: float

    @property
    def label(self) -> str:
        """What people call it: the city, and the code that tells its airports apart."""
        return f"{self.city or self.name} ({self.iata or self.icao})"

    def as_json(self) -> dict[str, Any]:
        """Return what a result page shows of it."""
        return {
            "code": self.iata or self.icao,
            "name": self.name,
            "city": self.city or self.name,
            "country": self.country,
            "at": [self.latitude, self.longitude],
        }


def distance(start: Place, end: Place) -> float:
    """Return the kilometres of the great circle between two places (the haversine formula)."""
    lat1, lat2 = math.radians(start.latitude), math.radians(end.latitude)
    half = math.radians(end.longitude - start.longitude) / 2
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half) ** 2
    return 2 * EARTH_RADIUS * math.asin(min(1.0, math.sqrt(chord)))


@cache
def by_icao() -> dict[str, Place]:
    """Return every airport, by its ICAO code: some 28,000."""
    return {
        row["icao"]: Place(row["icao"], row["iata"], row["name"], row["city"], row["country"], row["lat"], row["lon"])
        for row in airportsdata.load().values()
    }


def everywhere() -> list[Place]:
    """Return every airport."""
    return list(by_icao().values())


@cache
def by_iata() -> dict[str, Place]:
    """Return the airports with a code that is printed on tickets, by that code: some 8,000."""
    return {place.iata: place for place in everywhere() if place.iata}


@cache
def _by_city() -> dict[str, list[Place]]:
    cities = defaultdict(list)
    for place in by_iata().values():
        cities[_fold(place.city)].append(place)
    return cities


def find(text: str) -> list[Place]:
    """Return what ``text`` may mean: a code, a city, or the beginning or a part of a name."""
    wanted = _fold(text)
    if not wanted:
        return []
    code = re.search(r"\((\w{3})\)$", wanted)
    if place := by_iata().get((code[1] if code else wanted).upper()):
        return [place]
    return _by_city().get(wanted) or suggest(text, limit=10)


def suggest(text: str, limit: int) -> list[Place]:
    """Return airports whose code, city or name begins with ``text``, then those that contain it."""
    wanted = _fold(text)
    if not wanted:
        return []
    first, second = [], []
    for place in by_iata().values():
        words = (_fold(place.iata), _fold(place.city), _fold(place.name))
        if any(word.startswith(wanted) for word in words):
            first.append(place)
        elif any(wanted in word for word in words):
            second.append(place)
    return (first + second)[:limit]


@lru_cache(maxsize=2**16)
def _fold(text: str) -> str:
    """Return ``text`` without what makes no difference when a name is looked up: case, accents, outer spaces."""
    letters = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
