from __future__ import annotations

import pytest

from example_project.gallery import charts, places
from example_project.gallery.places import Place


def at(latitude: float, longitude: float) -> Place:
    return Place("XXXX", "XXX", "", "", "", latitude, longitude)


def test_distance_of_a_quarter_of_the_earth() -> None:
    quarter = places.EARTH_RADIUS * 3.141592653589793 / 2
    assert places.distance(at(0, 0), at(90, 77)) == pytest.approx(quarter)
    assert places.distance(at(0, -90), at(0, 0)) == pytest.approx(quarter)
    assert places.distance(at(0, 179), at(0, -179)) == pytest.approx(quarter / 45)
    assert places.distance(at(5, 5), at(5, 5)) == 0


def test_distance_between_real_airports() -> None:
    frankfurt, new_york = places.by_iata()["FRA"], places.by_iata()["JFK"]
    assert places.distance(frankfurt, new_york) == pytest.approx(6190, abs=15)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("FRA", "FRA"),
        (" fra ", "FRA"),
        ("Frankfurt am Main", "FRA"),
        ("Frankfurt am Main (FRA)", "FRA"),
        ("zürich", "ZRH"),
        ("Zurich", "ZRH"),
        ("heathrow", "LHR"),
    ],
)
def test_airport_is_found_by_code_city_and_name(text: str, code: str) -> None:
    assert [place.iata for place in places.find(text)] == [code]


def test_city_with_several_airports() -> None:
    assert {"LHR", "LGW", "STN"} <= {place.iata for place in places.find("London")}


@pytest.mark.parametrize("text", ["", "   ", "Atlantis"])
def test_no_such_airport(text: str) -> None:
    assert places.find(text) == []


def test_suggestions_begin_with_what_begins_so() -> None:
    found = places.suggest("vien", limit=5)
    assert found[0].iata == "VIE"
    assert len(places.suggest("a", limit=5)) == 5


def test_great_circle_over_the_date_line_leaves_the_map_and_comes_in_again() -> None:
    assert charts.great_circle((0, 0), (0, 90)).count("M") == 1
    assert charts.great_circle((35, 140), (37, -122)).count("M") == 2


def test_great_circle_between_the_same_and_opposite_points() -> None:
    assert "nan" not in charts.great_circle((10, 20), (10, 20))
    assert "nan" not in charts.great_circle((0, 0), (0, 180))


def test_dots_are_one_for_each_cell() -> None:
    assert charts.dots([(0.1, 0.1), (0.2, 0.2)]) == charts.dots([(0.1, 0.1)]) == "M72.5 35.5h0"


def test_bars_are_shares_of_the_longest() -> None:
    assert [bar.share for bar in charts.bars([("US", 200), ("DE", 50)])] == [100, 25]
    assert charts.bars([]) == []
