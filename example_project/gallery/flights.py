"""Flights. The airports and the distances between them are real; who flies where is made up, by these rules.

We fly non-stop between any two of our hubs that are at most ``RANGE`` apart. Our partners
fly between any two airports with an IATA code that are at most ``RANGE`` apart, also from
airports that lie near both ends of the journey, and change planes once. A journey takes its
flights at cruising speed, half an hour each for taking off and landing, the change of
planes (quicker at a hub than elsewhere), and the drive to an airport nearby.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.utils.translation import gettext_lazy as _

from . import places
from .places import Place, distance

__all__ = ["HUBS", "RANGE", "TRIES", "Journey", "as_result", "direct", "hubs", "nearest_hub", "one_stop"]

HUBS = frozenset(
    "ATL LAX ORD DFW DEN JFK SFO SEA MIA IAH BOS YYZ YVR MEX PTY BOG LIM SCL EZE GRU GIG LHR CDG AMS FRA MUC ZRH VIE "
    "MAD BCN LIS FCO CPH ARN OSL HEL DUB WAW IST ATH CAI ADD NBO JNB CPT LOS CMN DXB DOH AUH RUH TLV DEL BOM BLR CMB "
    "DAC KTM BKK SIN KUL CGK MNL HKG TPE PVG PEK CAN ICN NRT HND KIX SYD MEL BNE PER AKL HNL NAN".split()
)
TRIES = (
    ("FRA", "JFK", _("a flight of ours")),
    ("OSL", "LIM", _("takes the help of our partners")),
    ("MAD", "WLG", _("nobody flies with one change only")),
)
"""Journeys to try, with what is to be expected."""
RANGE = 9_900.0
"""Kilometres of the longest flight."""
NEARBY = 120.0
"""Kilometres to an airport that one would drive to."""
SPEED = 850.0
DRIVE = 70.0
"""Kilometres an hour, in the air and on the road."""
START_AND_LANDING = 30.0
CHANGE_AT_HUB = 75.0
CHANGE_ELSEWHERE = 150.0
"""Minutes."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A way from one airport to another."""

    stops: tuple[Place, ...]
    kilometres: float
    minutes: float

    def as_json(self) -> dict[str, Any]:
        """Return what the result page shows."""
        hours, minutes = divmod(round(self.minutes), 60)
        return {
            "stops": [stop.as_json() for stop in self.stops],
            "kilometres": round(self.kilometres),
            "duration": f"{hours} h {minutes:02} min",
        }


@cache
def hubs() -> tuple[Place, ...]:
    """Return our hubs, by their cities."""
    known = places.by_iata()
    return tuple(sorted((known[code] for code in HUBS if code in known), key=lambda place: place.label))


def nearest_hub(latitude: float, longitude: float) -> Place:
    """Return the hub of ours that is nearest to a point of the earth."""
    here = Place("", "", "", "", "", latitude, longitude)
    return min(hubs(), key=lambda hub: distance(here, hub))


def direct(start: Place, end: Place) -> list[Journey]:
    """Return our own flights: at most one."""
    kilometres = distance(start, end)
    if {start.iata, end.iata} <= HUBS and kilometres <= RANGE:
        return [Journey((start, end), kilometres, _flight(kilometres))]
    return []


def one_stop(start: Place, end: Place, stops: Iterable[Place], limit: int = 5) -> list[Journey]:
    """Return our partners' best connections with one change of planes at one of ``stops``, the quickest first."""
    starts, ends = _nearby(start), _nearby(end)
    found = []
    for stop in stops:
        if not stop.iata or stop in starts or stop in ends:
            continue
        outward = min((leg for place in starts if (leg := _leg(place, stop, starts[place]))), default=None)
        onward = min((leg for place in ends if (leg := _leg(place, stop, ends[place]))), default=None)
        if outward and onward:
            change = CHANGE_AT_HUB if stop.iata in HUBS else CHANGE_ELSEWHERE
            found.append(
                Journey((outward[2], stop, onward[2]), outward[1] + onward[1], outward[0] + change + onward[0])
            )
    return sorted(found, key=lambda journey: journey.minutes)[:limit]


def as_result(start: Place, end: Place, journeys: Iterable[Journey], by: str) -> dict[str, Any]:
    """Return the result of a search: JSON, for the process to keep."""
    return {
        "from": start.as_json(),
        "to": end.as_json(),
        "by": by,
        "journeys": [journey.as_json() for journey in journeys],
    }


def _flight(kilometres: float) -> float:
    return START_AND_LANDING + 60 * kilometres / SPEED


def _leg(place: Place, stop: Place, drive: float) -> tuple[float, float, Place] | None:
    """Return the minutes and kilometres between a place at one end and a stop, if anybody flies there."""
    kilometres = distance(place, stop)
    return (drive + _flight(kilometres), kilometres, place) if kilometres <= RANGE else None


def _nearby(place: Place) -> dict[Place, float]:
    """Return the airports near ``place``, itself included, with the minutes it takes to drive there."""
    return {
        other: 60 * kilometres / DRIVE
        for other in places.by_iata().values()
        if (kilometres := distance(place, other)) <= NEARBY
    }
