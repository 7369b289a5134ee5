from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.models import Process
from django_progress.status import Status
from example_project.gallery import flights, places
from example_project.gallery.forms import FlightForm


def search(origin: str, destination: str) -> list[flights.Journey]:
    return flights.one_stop(places.by_iata()[origin], places.by_iata()[destination], places.everywhere())


def test_hubs_are_real_airports() -> None:
    assert len(flights.hubs()) >= 0.9 * len(flights.HUBS)


def test_we_fly_between_hubs_within_range() -> None:
    known = places.by_iata()
    (journey,) = flights.direct(known["FRA"], known["JFK"])
    assert [stop.iata for stop in journey.stops] == ["FRA", "JFK"]
    assert 400 < journey.minutes < 540
    assert flights.direct(known["LHR"], known["SYD"]) == []  # too far
    assert flights.direct(known["FRA"], known["ERF"]) == []  # no hub


def test_partners_change_once_and_the_quickest_comes_first() -> None:
    journeys = search("OSL", "LIM")
    assert len(journeys) == 5
    assert all(len(journey.stops) == 3 for journey in journeys)
    assert journeys == sorted(journeys, key=lambda journey: journey.minutes)
    for journey in journeys:
        start, stop, end = journey.stops
        assert max(places.distance(start, stop), places.distance(stop, end)) <= flights.RANGE
        assert places.distance(start, places.by_iata()["OSL"]) <= flights.NEARBY
        assert journey.kilometres >= places.distance(start, end)


def test_nobody_reaches_the_other_side_of_the_world() -> None:
    assert search("MAD", "WLG") == []


def test_result_is_json_with_a_readable_duration() -> None:
    start, end = places.by_iata()["FRA"], places.by_iata()["JFK"]
    result = flights.as_result(start, end, [flights.Journey((start, end), 6190.4, 467.2)], by="us")
    assert result["journeys"][0]["duration"] == "7 h 47 min"
    assert result["journeys"][0]["kilometres"] == 6190
    assert [stop["code"] for stop in result["journeys"][0]["stops"]] == ["FRA", "JFK"]


@pytest.mark.parametrize(
    ("origin", "destination", "field", "words"),
    [
        ("", "JFK", "origin", "required"),
        ("Atlantis", "JFK", "origin", "No airport is known as “Atlantis”"),
        ("FRA", "London", "destination", "(LHR)"),
        ("FRA", "fra", "destination", "You are there already"),
    ],
)
def test_form_says_what_is_wrong(origin: str, destination: str, field: str, words: str) -> None:
    form = FlightForm({"origin": origin, "destination": destination})
    assert not form.is_valid()
    assert words in form.errors[field][0]
    assert list(form.errors) == [field]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("origin", "destination", "milestones", "executions"),
    [("FRA", "JFK", ["started", "ours"], 1), ("OSL", "LIM", ["started", "ours", "partners"], 2)],
)
def test_search_leads_to_what_was_found(
    visitor: Client, stranger: Client, origin: str, destination: str, milestones: list[str], executions: int
) -> None:
    started = visitor.post("/flights/", {"origin": origin, "destination": destination})
    process = Process.objects.get()
    assert (started.status_code, started["Location"]) == (303, process.get_wait_url())
    assert [event.name for event in process.milestones] == [*milestones, "done"][: len(milestones)]
    assert process.executions == executions
    assert process.finished_url == f"/flights/results/{process.key}/"
    page = visitor.get(process.finished_url).content.decode()
    assert f">{destination}</abbr>" in page
    assert "<svg" in page
    assert " style=" not in page
    assert stranger.get(process.finished_url).status_code == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("inline")
def test_failure_leads_elsewhere(visitor: Client, stranger: Client) -> None:
    visitor.post("/flights/", {"origin": "MAD", "destination": "WLG"})
    process = Process.objects.get()
    assert process.status == Status.FAILED
    assert process.finished_url == f"/flights/sorry/{process.key}/"
    assert b"only one change of planes" in visitor.get(process.finished_url).content
    assert stranger.get(process.finished_url).status_code == 404


@pytest.mark.django_db
def test_result_of_another_kind_is_not_shown(visitor: Client, user: User) -> None:
    process = Process.objects.start(owner=user, kind="airport-import")
    process.succeed({})
    assert visitor.get(f"/flights/results/{process.key}/").status_code == 404


@pytest.mark.django_db
def test_airports_are_suggested_while_one_is_typed(visitor: Client) -> None:
    page = visitor.get("/flights/airports/", {"origin": "Vien"}).content.decode()
    assert '<option value="Vienna (VIE)">' in page
    assert visitor.get("/flights/airports/").content.strip() == b""
