"""Every address, by everybody, in every way of asking: who is let in, and that the others can't tell why not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls.resolvers import RoutePattern

from django_progress import sharing
from django_progress.models import Process
from tests.access.asking import (
    ANSWERED,
    ARGUMENTS,
    HTMX,
    JSON,
    PLACED,
    READING,
    ask,
    check_missing,
    check_refusal,
    is_login,
    routes,
    rows_of,
    state,
    url_of,
    walk,
)
from tests.access.people import ASKING, TITLE, World

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

# see    it is shown
# do     it is done
# 403    it may be seen, but isn't theirs to change
# 404    as if there were none
# login  led to the login page, as if there were none
# with, without   a list that holds it, or that is the same as if there were none
MATRIX = """
process   asked by                    a page  JSON  by form  by program  a list
owned     nobody                      login   404   login    404         login
owned     visitor with another token  login   404   login    404         without
owned     holder of a link            login   404   login    404         login
owned     another user                404     404   404      404         without
owned     owner                       see     see   do       do          with
owned     it is shared with           see     see   403      403         with
owned     staff, may view             see     see   403      403         without
owned     staff, may change           see     see   do       do          without
owned     staff, may neither          404     404   404      404         without
owned     may change, no staff        404     404   404      404         without
owned     superuser                   see     see   do       do          without
owned     owner, inactive             login   404   login    404         login
owned     shared with, inactive       login   404   login    404         login
owned     staff, inactive             login   404   login    404         login
owned     superuser, inactive         login   404   login    404         login
visited   nobody                      login   404   login    404         login
visited   visitor with another token  login   404   login    404         without
visited   holder of a link            login   404   login    404         login
visited   visitor who started it      see     see   do       do          with
visited   another user                404     404   404      404         without
visited   it is shared with           see     see   403      403         with
visited   staff, may view             see     see   403      403         without
visited   staff, may change           see     see   do       do          without
visited   staff, may neither          404     404   404      404         without
nobody's  nobody                      login   404   login    404         login
nobody's  visitor with another token  login   404   login    404         without
nobody's  another user                404     404   404      404         without
nobody's  it is shared with           see     see   403      403         with
nobody's  staff, may view             see     see   403      403         without
nobody's  superuser                   see     see   do       do          without
"""

HEAD, ROWS = rows_of(MATRIX)


def named(cell: Any) -> str:
    return "-".join(cell[:2]).replace(" ", "_") if isinstance(cell, list) else cell.replace(" ", "_")


def test_every_address_has_its_place() -> None:
    found = {pattern.name: pattern.pattern for pattern in walk()}
    assert set(found) == set(PLACED), "say in PLACED what sort it is, or the matrix leaves it out"
    for name, route in found.items():
        assert name is not None
        assert isinstance(route, RoutePattern), f"{name}: its arguments can't be read off"
        takes = {argument: type(kind).__name__.removesuffix("Converter") for argument, kind in route.converters.items()}
        assert takes == ARGUMENTS[PLACED[name]], name


def test_everybody_is_in_the_matrix() -> None:
    assert {row[1] for row in ROWS} == set(ASKING)


@pytest.mark.parametrize("row", ROWS, ids=named)
@pytest.mark.parametrize("column", HEAD[2:], ids=named)
def test_matrix(row: list[str], column: str) -> None:
    expected = row[HEAD.index(column)]
    world = World(row[0])
    client = ASKING[row[1]](world)
    match column:
        case "a page" | "JSON":
            for name in routes("page" if column == "a page" else "json"):
                _check_read(client, world.process, name, expected)
        case "by form" | "by program":
            for name in routes("verb"):
                for headers in [JSON, {**JSON, **HTMX}] if column == "by program" else [{}, HTMX]:
                    _check_verb(client, world.process, name, expected, headers)
            for name in routes("plan"):
                for headers in [JSON, {**JSON, **HTMX}] if column == "by program" else [{}, HTMX]:
                    _check_plan(client, world.process, name, expected, headers)
        case "a list":
            for name in routes("list"):
                _check_list(client, world.process, name, expected)


def _check_read(client: Client, process: Process, name: str, expected: str) -> None:
    for method, query, headers in READING:
        url = url_of(name, process) + query
        if expected != "see":
            response = check_refusal(client, process, method, url, headers)
            assert is_login(response, headers) if expected == "login" else response.status_code == 404
            continue
        response = ask(client, method, url, headers)
        if "HX-History-Restore-Request" in headers and name.endswith("-fragment"):
            # To the page that it is a piece of.
            assert (response.status_code, response["Location"][:10]) == (302, "/progress/")
            continue
        assert response.status_code == ANSWERED.get(name, 200), (method, url, headers)
        is_told = method == "GET" and name not in ("process-events", "process-stream")
        assert (TITLE.encode() in response.content) == is_told


def _check_verb(client: Client, process: Process, name: str, expected: str, headers: dict[str, str]) -> None:
    url = url_of(name, process)
    with transaction.atomic():
        if name in ("process-retry", "process-rerun"):
            Process.objects.get(pk=process.pk).fail("It was empty.")
            process = Process.objects.get(pk=process.pk)
        before = state(process)
        if expected in ("404", "login"):
            response = check_refusal(client, process, "POST", url, headers)
            assert is_login(response, headers) if expected == "login" else response.status_code == 404
        else:
            response = ask(client, "POST", url, headers)
            assert (response.status_code == 403) == (expected == "403")
            # Of a process without steps nothing runs again: programs are told, people see it on a page.
            refused = (409,) if name == "process-rerun" else ()
            assert response.status_code in (200, 202, 303, 403, *refused)
        assert (state(process) != before) == (expected == "do" and name != "process-rerun"), (name, headers)
        transaction.set_rollback(True)


def _check_plan(client: Client, process: Process, name: str, expected: str, headers: dict[str, str]) -> None:
    """What a verb would do is shown to whoever may use it, and to nobody else."""
    for query in ("", "?way=all", "?way=x"):
        url = url_of(name, process) + query
        if expected in ("404", "login"):
            response = check_refusal(client, process, "GET", url, headers)
            assert is_login(response, headers) if expected == "login" else response.status_code == 404
            continue
        response = ask(client, "GET", url, headers)
        is_told = expected == "do" and "Accept" not in headers  # This one is no workflow, so programs get 409.
        assert response.status_code == (403 if expected == "403" else 200 if is_told else 400 if "=x" in query else 409)
        assert (TITLE.encode() in response.content) == is_told


def _check_list(client: Client, process: Process, name: str, expected: str) -> None:
    # Asked for with what one might know of somebody else's.
    for query in ("", "?dp-shown=x&dp-for=1", f"?before={process.key}", f"?status={process.status}"):
        for method, headers in (("GET", {}), ("GET", HTMX), ("HEAD", {})):
            url = url_of(name) + query
            if expected == "with":
                response = ask(client, method, url, headers)
                assert response.status_code == 200
                if method == "GET" and not query.startswith(("?before", "?status")):
                    assert str(process.key).encode() in response.content
                continue
            response = check_missing(client, process, method, url, headers)
            assert is_login(response, headers) if expected == "login" else response.status_code == 200


@pytest.mark.parametrize("who", ["nobody", "another user", "owner", "superuser", "owner, inactive"])
def test_other_methods_are_refused_whether_or_not_it_exists(who: str) -> None:
    world = World("owned")
    client = ASKING[who](world)
    token = sharing.get_share_url(world.process).split("/")[-2]
    for name, sort in PLACED.items():
        allowed = {"POST"} if sort == "verb" else {"GET", "HEAD"}
        for method in sorted({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed):
            for headers in ({}, HTMX, JSON):
                before = state(world.process)
                url = url_of(name, world.process, token=token)
                assert check_missing(client, world.process, method, url, headers).status_code == 405, (method, name)
                assert state(world.process) == before


@pytest.mark.parametrize("who", ["nobody", "visitor with another token", "holder of a link"])
def test_a_poll_of_a_page_made_for_nobody_is_refused_as_a_missing_one(who: str) -> None:
    world = World("owned")
    client = ASKING[who](world)
    for name in routes("page"):
        url = url_of(name, world.process) + "?dp-shown=x"
        assert check_refusal(client, world.process, "GET", url, HTMX).status_code == 404
