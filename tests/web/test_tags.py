"""Fragments in a host's own templates."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, RequestContext, Template, TemplateSyntaxError, engines
from django.test import RequestFactory

from django_progress.models import Process

from .conftest import imports


def render(source: str, request=None, **context) -> str:
    template = engines["django"].from_string("{% load django_progress %}" + source)
    return template.render(context, request)


@pytest.fixture
def request_of(rf: RequestFactory):
    def make(user=None, path: str = "/orders/?page=2"):
        request = rf.get(path)
        request.user = user or AnonymousUser()
        return request

    return make


WAIT = '{% include "django_progress/fragments/wait.html" %}'
STATUS = '{% include "django_progress/fragments/status.html" %}'
MINE = '{% include "django_progress/fragments/my_processes.html" %}'


@pytest.mark.parametrize("source", [WAIT, STATUS, "{% progress process %}"])
def test_only_a_process_is_needed(process, source):
    content = Template("{% load django_progress %}" + source).render(Context({"process": process}))

    assert "hx-get=" in content
    assert "django_progress.css" in content
    assert "django_progress.js" in content
    assert "<form" not in content


def test_with_the_request_there_is_something_to_do(process, user, other, request_of):
    assert 'name="next" value="/orders/?page=2"' in render(WAIT, request_of(user), process=process)
    assert "csrfmiddlewaretoken" in render(WAIT, request_of(user), process=process)
    assert "<form" not in render(WAIT, request_of(other), process=process)
    assert "<form" not in render(WAIT, request_of(), process=process)


def test_the_request_is_found_without_its_context_processor(process, user, request_of):
    template = Template(WAIT)

    assert "<form" in template.render(RequestContext(request_of(user), {"process": process}))


def test_a_process_by_another_name(process):
    class Order:
        progress = process

    assert "hx-get=" in render(
        '{% include "django_progress/fragments/wait.html" with process=order.progress %}', order=Order
    )


@pytest.mark.parametrize("source", [WAIT, "{% progress process %}", "{% processing process %}x{% endprocessing %}"])
def test_without_a_process_it_is_said_what_is_missing(db, source):
    with pytest.raises(TypeError, match="Pass one to the template"):
        render(source)


@pytest.mark.parametrize("arguments", ["", "a b"])
def test_the_block_takes_one_argument(arguments):
    with pytest.raises(TemplateSyntaxError, match="processing takes one argument"):
        render(f"{{% processing {arguments} %}}x{{% endprocessing %}}")


def test_stylesheet_and_script_come_once_in_a_page(process, user, request_of):
    page = render(WAIT + STATUS + "{% progress process %}{% my_processes %}", request_of(user), process=process)
    for _ in range(2):
        assert page.count("django_progress.css") == page.count("django_progress.js") == 1
        page = render("{% progress_assets %}" + WAIT + MINE, request_of(user), process=process)
    assert re.search(
        r'<script src="[^"]+django_progress\.js" data-dp-htmx="[^"]+htmx-2\.min\.js" defer></script>', page
    )


def test_a_nonce_is_passed_on(process):
    assert 'nonce="abc"' in render("{% progress_assets %}", csp_nonce="abc")


def test_my_processes(process, user, other, request_of):
    for source in ("{% my_processes %}", MINE):
        assert "Import airports" in render(source, request_of(user))
        assert "Import airports" not in render(source, request_of(other))
        assert "Nothing yet." in render(source, request_of())
        assert "Nothing yet." in render(source)


def test_a_hosts_query_string_is_not_ours(process, user, request_of):
    assert "Import airports" in render("{% my_processes %}", request_of(user, "/?status=failed&before=x"))


def test_the_block_waits(start, user, request_of):
    process = start(age=5)
    content = render("{% processing process %}{{ boom }}Finished{% endprocessing %}", request_of(user), process=process)

    assert "Finished" not in content
    assert f'id="dp-processing-{process.key}"' in content
    assert "as=processing" in content
    assert "<progress" in content


def test_the_block_shows_what_it_encloses(process, user, request_of):
    process.succeed(42)
    content = render(
        "{% processing process %}<b>{{ process.result }}</b>{% endprocessing %}", request_of(user), process=process
    )

    assert content == f'<div id="dp-processing-{process.key}" class="dp-processed"><b>42</b></div>'


def test_the_block_goes_by_what_the_view_read(process, user, request_of):
    """What it encloses was made from that; the page is fetched once more."""
    Process.objects.get(pk=process.pk).succeed(42)
    content = render(
        "{% processing process %}{{ process.result }}{% endprocessing %}", request_of(user), process=process
    )

    assert 'hx-get="/orders/?page=2"' in content
    assert 'hx-trigger="load, every 5s"' in content


def test_the_block_shows_a_failure_and_a_way_out(start, user, request_of):
    process = start(task=imports)
    process.fail("The file is empty.")
    content = render("{% processing process %}Finished{% endprocessing %}", request_of(user), process=process)

    assert "The file is empty." in content
    assert "Try again" in content
    assert "Finished" not in content


def test_an_old_instance_is_read_again(process):
    old = Process.objects.get(pk=process.pk)
    process.milestone("read", "Reading rows")

    assert "Reading rows" in render(WAIT, process=old)


def test_a_process_that_is_gone_is_shown_as_it_was(process):
    old = Process.objects.get(pk=process.pk)
    Process.objects.all().delete()

    assert "Import airports" in render(STATUS, process=old)


def test_a_fragment_takes_few_queries(process, user, request_of, django_assert_max_num_queries):
    with django_assert_max_num_queries(2):
        render(STATUS, request_of(user), process=process)
    with django_assert_max_num_queries(1):
        render("{% progress process %}", request_of(user), process=process)


def test_only_those_who_may_see_it_poll(start, user, other, staff, request_of):
    process = start(age=5)
    for source in (WAIT, STATUS, "{% progress process %}", "{% processing process %}x{% endprocessing %}"):
        for who, polls in ((user, True), (staff, True), (other, False), (None, False)):
            content = render(source, request_of(who), process=process)
            assert "Import airports" in content
            assert ("hx-get=" in content, "dp-for=1" in content) == (polls, polls)
    assert "dp-for=" not in render(STATUS, process=process)
    assert "dp-for=1" in render(MINE, request_of(user))


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
def test_a_page_that_htmx_navigates_to_is_the_one_that_opens(start, user, request_of, header):
    process = start(age=5)
    request = request_of(user)
    left = {"HTTP_HX_REQUEST": "true", "HTTP_HX_CURRENT_URL": "http://testserver/left/"}
    request.META.update({**left, f"HTTP_{header.upper().replace('-', '_')}": "true"})
    assert 'name="next" value="/orders/?page=2"' in render(WAIT, request, process=process)

    Process.objects.get(pk=process.pk).succeed()
    content = render("{% processing process %}x{% endprocessing %}", request, process=process)
    assert 'hx-get="/orders/?page=2"' in content


@pytest.mark.parametrize(
    "source", [WAIT, STATUS, "{% progress process %}", "{% processing process %}x{% endprocessing %}"]
)
def test_a_second_copy_has_ids_of_its_own(mine, start, user, request_of, source):
    process = start(age=5)
    page = render(source + source, request_of(user), process=process)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))

    element, address = re.findall(r'hx-get="([^"]+)".*?hx-select="#([^"]+)"', page)[1][::-1]
    process.milestone("read", "Reading rows")
    assert f'id="{element}"' in mine.get(address.replace("&amp;", "&"), headers={"HX-Request": "true"}).content.decode()

    process.succeed()
    ids = re.findall(r'\sid="([^"]+)"', render(source + source, request_of(user), process=process))
    assert len(ids) == len(set(ids))
