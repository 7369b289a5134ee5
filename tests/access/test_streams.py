"""The streams, by everybody, as a server of ASGI asks: who is let in, and that the others can't tell why not."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from tests.access.asking import READING, check_refusal, url_of
from tests.access.people import ASKING, World
from tests.access.test_matrix import HEAD, ROWS, named

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


class Asynchronous:
    """Asks as the tests' client does, with its cookies, but by ASGI."""

    def __init__(self, client: Client) -> None:
        self.client = AsyncClient()
        self.client.cookies = client.cookies

    def generic(self, method: str, url: str, headers: dict[str, str]) -> Any:
        async def answer() -> Any:
            return await self.client.generic(method, url, headers=headers)

        return async_to_sync(answer)()


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_matrix_of_streams(row: list[str]) -> None:
    expected = row[HEAD.index("JSON")]
    world = World(row[0])
    synchronous = ASKING[row[1]](world)
    client: Any = Asynchronous(synchronous)
    for method, query, headers in READING:
        for more in ("", "after=1", "after=x", "format=html", "format=html&as=x"):
            url = "?".join(
                filter(None, [url_of("process-stream", world.process), "&".join(filter(None, [query[1:], more]))])
            )
            if expected == "see":
                response = client.generic(method, url, headers)
                assert response.status_code == (400 if "=x" in more else 200), url
                assert response.streaming == (method == "GET" and response.status_code == 200)
                continue
            response = check_refusal(client, world.process, method, url, headers)
            assert response.status_code == 404
            status = synchronous.generic(method, url_of("process-status", world.process), headers=headers)
            assert (response.content, response["Content-Type"]) == (status.content, status["Content-Type"])
