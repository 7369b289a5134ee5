"""What visitors without an account are shown."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template.loader import get_template
from django.test import Client, RequestFactory

from django_progress.models import Process

from .conftest import HTMX, url
from .test_list import titles


def visiting(client):
    """Start something as somebody without an account."""
    client.get(url("list"))
    request = RequestFactory().get("/")
    request.session = client.session
    process = Process.objects.start("Flights", request=request)
    request.session.save()
    client.cookies["sessionid"] = request.session.session_key
    return process


def test_visitors_have_a_list_of_their_own(db, client, other):
    process = visiting(client)
    Process.objects.start("Hers", owner=other)
    page = client.get(url("list"))

    assert titles(page) == ["Flights"]
    assert titles(client.get(url("list-fragment"))) == ["Flights"]
    address = html.unescape(re.search(r'hx-get="([^"]+)"', page.content.decode())[1])
    assert "dp-for" not in address
    process.succeed()
    assert "Succeeded" in client.get(address, headers=HTMX).content.decode()


def test_polls_of_visitors_whose_session_has_ended_lead_nowhere(db, client):
    process = visiting(client)
    pages = [url("list"), process.get_wait_url(), process.get_absolute_url()]
    polls = [html.unescape(re.search(r'hx-get="([^"]+)"', client.get(page).content.decode())[1]) for page in pages]
    client.cookies.clear()
    for poll in polls:
        response = client.get(poll, headers=HTMX)
        assert response.status_code == 404
        assert "HX-Redirect" not in response
    # Opened anew, the page asks who they are.
    for page in pages:
        assert client.get(page).status_code == 302


@pytest.mark.parametrize("name", ["wait", "detail"])
def test_visitors_are_offered_what_they_may_do(db, client, name):
    process = visiting(client)
    page = client.get(url(name, process)).content.decode()

    assert f'action="{url("cancel", process)}"' in page
    assert "csrfmiddlewaretoken" in page
    careful = Client(enforce_csrf_checks=True)
    careful.cookies["sessionid"] = client.cookies["sessionid"].value
    assert careful.post(url("cancel", process)).status_code == 403
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', careful.get(url(name, process)).content.decode())
    answer = careful.post(url("cancel", process), {"csrfmiddlewaretoken": token[1]})
    assert answer.status_code == 303
    process.refresh_from_db()
    assert process.status == "cancelled"


@pytest.mark.parametrize("name", ["wait-fragment", "status-fragment", "list-fragment"])
def test_what_a_poll_brings_says_for_whom_it_is(mine, client, process, name):
    own = visiting(client)
    for asking, shown, is_personal in ((mine, process, True), (client, own, False)):
        address = url(name, None if name.startswith("list") else shown, "?dp-shown=x")
        poll = re.search(r'hx-get="([^"]+)"', asking.get(address, headers=HTMX).content.decode())[1]
        assert ("dp-for=1" in poll) is is_personal


@pytest.mark.parametrize("mode", ["status", "wait", "bar"])
def test_what_a_host_page_includes_says_for_whom_it_is(client, user, process, mode):
    own = visiting(client)
    page = get_template(f"django_progress/fragments/{mode}.html")
    for who, shown, is_personal in ((user, process, True), (AnonymousUser(), own, False)):
        request = RequestFactory().get("/")
        request.user, request.session = who, client.session
        poll = re.search(r'hx-get="([^"]+)"', page.render({"process": shown}, request))[1]
        assert ("dp-for=1" in poll) is is_personal
