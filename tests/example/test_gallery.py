from __future__ import annotations

import inspect
import re
import uuid
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import strip_tags

from django_progress.models import Process
from example_project.gallery import remoteness, sources, tasks, views
from example_project.gallery.features import FEATURES, Feature
from example_project.gallery.models import Endpoint
from example_project.gallery.places import by_iata

pytestmark = pytest.mark.django_db

by_slug = pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.slug)


def test_home_page_is_open_to_all_and_names_every_example(client: Client) -> None:
    page = client.get("/").content.decode()
    for feature in FEATURES:
        assert f'href="{feature.get_absolute_url()}"' in page
        assert str(feature.title) in page


@by_slug
def test_example_asks_visitors_to_log_in_unless_it_is_open(client: Client, feature: Feature) -> None:
    answer = client.get(feature.get_absolute_url())
    if feature.is_open:
        assert answer.status_code == 200
        return
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={feature.get_absolute_url()}"


@by_slug
def test_page_shows_the_code_that_runs(visitor: Client, feature: Feature) -> None:
    answer = visitor.get(feature.get_absolute_url())
    assert answer.status_code == 200
    blocks = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", answer.content.decode(), re.S)
    shown = [unescape(strip_tags(block)) for block in blocks]
    assert shown == [source.text for source in feature.sources]
    assert sum(source.text.count("\n") for source in feature.sources) < 60


def test_code_is_that_of_the_function() -> None:
    assert sources.load("tasks.search_flights").text == inspect.getsource(tasks.search_flights.function)
    assert sources.load("views.flights").text == inspect.getsource(views.flights)
    assert sources.load("views.flights").file == "example_project/gallery/views.py"


def test_code_is_escaped_and_its_parts_are_marked() -> None:
    python = sources._python('@once\ndef f(a):  # <b>\n    return a < 1, "<i>"\n')
    assert '<span class="code-decorator">once</span>' in python
    assert '<span class="code-definition">f</span>' in python
    assert '<span class="code-comment"># &lt;b&gt;</span>' in python
    assert "a &lt; " in python
    template = sources._template('{% if a %}<p class="b">{{ c }}</p>{# d #}')
    assert '<span class="code-keyword">{% if a %}</span>' in template
    assert "<p" not in template


@by_slug
def test_page_keeps_to_its_policy(visitor: Client, feature: Feature) -> None:
    answer = visitor.get(feature.get_absolute_url())
    page = answer.content.decode()
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=", page)


def test_expiry_waits_without_a_task(visitor: Client, user: User) -> None:
    answer = visitor.post("/expiry/")
    process = Process.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, process.get_wait_url())
    assert (process.owner, process.max_duration, process.task_name) == (user, 20, "")
    process.expire()
    assert "as it was meant to" in visitor.get(process.finished_url).content.decode()


def test_expiry_of_another_one_is_not_shown(visitor: Client, stranger: Client) -> None:
    visitor.post("/expiry/")
    assert stranger.get(f"/expiry/{Process.objects.get().key}/").status_code == 404


def test_endpoint_answers_503_until_it_was_called_often_enough(client: Client) -> None:
    endpoint = Endpoint.objects.create(ready_after=3)
    answers = [client.get(f"/reattempts/endpoint/{endpoint.key}/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 200, 200]
    assert answers[3].json() == {"ready": True, "calls": 4}
    assert client.get(f"/reattempts/endpoint/{uuid.uuid4()}/").status_code == 404


def test_endpoint_is_found_at_the_site(settings: object) -> None:
    endpoint = Endpoint(ready_after=1)
    assert endpoint.url == f"http://127.0.0.1:8000/reattempts/endpoint/{endpoint.key}/"


def test_reattempts_start_with_what_was_chosen(visitor: Client) -> None:
    answer = visitor.post("/reattempts/", {"ready_after": "7", "retry_delay": "3"})
    process = Process.objects.get()
    assert answer["Location"] == process.get_wait_url()
    assert (process.max_attempts, process.retry_delay, process.max_duration) == (50, 3, 300)
    assert Endpoint.objects.get(pk=process.task_kwargs["endpoint"]).ready_after == 7


@pytest.mark.parametrize("values", [{"ready_after": "0", "retry_delay": "2"}, {"ready_after": "4", "retry_delay": "9"}])
def test_reattempts_refuse_what_makes_no_sense(visitor: Client, values: dict[str, str]) -> None:
    assert visitor.post("/reattempts/", values).status_code == 422
    assert not Process.objects.exists()


def test_reattempts_page_tells_of_each(visitor: Client, stranger: Client, user: User) -> None:
    process = Process.objects.start(owner=user, kind="connect")
    process.succeed()
    assert "It answered" in visitor.get(f"/reattempts/{process.key}/").content.decode()
    assert stranger.get(f"/reattempts/{process.key}/").status_code == 404


def test_block_shows_the_result_when_there_is_one(visitor: Client, stranger: Client, user: User) -> None:
    answer = visitor.post("/remote/")
    process = Process.objects.get()
    assert answer["Location"] == f"/remote/{process.key}/"
    assert "dp-processed" not in visitor.get(answer["Location"]).content.decode()
    assert stranger.get(answer["Location"]).status_code == 404
    places = [by_iata()[code] for code in ("FRA", "HHN", "ZRH", "IPC")]
    ranking = remoteness.Ranking(places)
    records = [place.iata for place in places if ranking.measure(place)]
    assert records == ["FRA", "ZRH", "IPC"]
    process.succeed({"compared": len(places), "top": ranking.top()})
    page = visitor.get(answer["Location"]).content.decode()
    assert "The most remote of 4 airports" in page
    assert page.index("Mataveri") < page.index("Zurich")


def test_ordinary_page_holds_both_fragments(visitor: Client) -> None:
    assert visitor.post("/fragments/").status_code == 302
    process = Process.objects.get()
    page = visitor.get("/fragments/").content.decode()
    assert process.title in page
    assert f"/progress/{process.key}/cancel/" in page


def test_wait_page_of_flights_is_the_site_s_own(visitor: Client) -> None:
    visitor.post("/flights/", {"origin": "OSL", "destination": "LIM"})
    page = visitor.get(Process.objects.get().get_wait_url())
    assert "django_progress/flight-search/wait.html" in [template.name for template in page.templates]
    assert b"Searching for your flights" in page.content


def test_pages_of_the_app_stand_in_the_site_s_layout(visitor: Client) -> None:
    visitor.post("/expiry/")
    for url in (Process.objects.get().get_wait_url(), Process.objects.get().get_absolute_url(), "/progress/"):
        assert b"example/site.css" in visitor.get(url).content


def test_login_page_says_the_login_in_the_demo_only(client: Client, settings: object) -> None:
    settings.DEMO = False  # type: ignore[attr-defined]
    assert b"demo" not in client.get("/login/").content
    settings.DEMO = True  # type: ignore[attr-defined]
    assert b"<kbd>demo</kbd>" in client.get("/login/").content
