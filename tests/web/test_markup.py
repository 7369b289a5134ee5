"""What pages are made of: without scripts, under a strict policy, in the host's own templates and language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import override_settings
from django.utils import translation

from .conftest import url


def test_without_scripts_the_page_loads_itself_again(mine, start):
    process = start(age=30)
    html = mine.get(url("wait", process)).content.decode()
    off = mine.get(url("wait", process, "?refresh=off")).content.decode()

    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert 'href="?refresh=off"' in html
    assert ">Refresh now</a>" in html
    assert 'http-equiv="refresh"' not in off
    assert '<a href="?">' in off
    assert 'content="60"' in mine.get(url("wait", start(age=3000))).content.decode()


def test_a_finished_page_does_not_load_itself_again(mine, process):
    process.succeed()

    assert "noscript" not in mine.get(url("detail", process)).content.decode()


def test_nothing_is_inline(mine, start):
    process = start(total=10, current=4, age=30)
    process.milestone("x", "Reading")
    for name in ("wait", "detail", "list"):
        html = mine.get(url(name, None if name == "list" else process)).content.decode()
        assert not re.search(r"\son\w+=|\sstyle=|<style|hx-on|hx-vals|javascript:", html)
        assert len(re.findall(r"<script", html)) == len(re.findall(r"<script [^>]*src=[^>]*></script>", html)) == 1
        assert html.count("django_progress.css") == 1


def test_every_id_is_there_once(mine, start):
    process = start(total=10, current=4, age=30)
    process.milestone("x", "Reading")
    for name in ("wait", "detail", "list"):
        ids = re.findall(r'\sid="([^"]+)"', mine.get(url(name, None if name == "list" else process)).content.decode())
        assert len(ids) == len(set(ids))


@override_settings(DJANGO_PROGRESS={"HTMX": "none"})
def test_a_host_that_brings_htmx(mine, process):
    assert "data-dp-htmx" not in mine.get(url("wait", process)).content.decode()


def test_pages_can_be_of_the_kinds_own(mine, start, settings, tmp_path):
    folder = Path(tmp_path, "django_progress", "flight-search")
    (folder / "live").mkdir(parents=True)
    (folder / "wait.html").write_text(
        "{% extends base_template %}{% block content %}Your flight: "
        '{% include "django_progress/fragments/wait.html" %}{% endblock %}'
    )
    (folder / "live" / "wait.html").write_text("{{ live.snapshot.title }} at {{ live.bar.text }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    own = start("To Quito", kind="flight-search", total=4, current=1)
    page = mine.get(url("wait", own)).content.decode()

    assert "Your flight:" in page
    assert "To Quito at 25 %" in page
    assert "To Quito at 25 %" in mine.get(url("wait-fragment", own, "?dp-shown=x")).content.decode()
    assert "Your flight:" not in mine.get(url("wait", start("Other", kind="import"))).content.decode()


@pytest.mark.parametrize("kind", ["fragments", "live", "bits"])
def test_a_kind_may_be_named_like_one_of_the_apps_folders(mine, start, kind):
    assert "</html>" in mine.get(url("wait", start(kind=kind))).content.decode()


def test_the_base_template_can_be_another(mine, process, settings, tmp_path):
    Path(tmp_path, "site.html").write_text("<body>My site {% block content %}{% endblock %}</body>")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.DJANGO_PROGRESS = {"BASE_TEMPLATE": "site.html"}
    for page in (mine.get(url("wait", process)), mine.get(url("detail", process)), mine.get(url("list"))):
        html = page.content.decode()
        assert html.startswith("<body>My site")
        assert html.count("django_progress.css") == 1
        assert html.count("<script") == 1


def test_pages_speak_the_visitors_language(mine, process):
    html = mine.get(url("wait", process), headers={"Accept-Language": "ar"}).content.decode()
    assert '<html lang="ar" dir="rtl"' in html
    with translation.override("en"):
        assert '<html lang="en" dir="ltr"' in mine.get(url("wait", process)).content.decode()


@pytest.mark.parametrize("name", ["wait", "detail"])
def test_pages_take_few_queries(mine, process, name, django_assert_max_num_queries):
    for number in range(20):
        process.milestone(f"m{number}", "Step")
    with django_assert_max_num_queries(4):
        mine.get(url(name, process))
