"""A proxy that hands an answer on only when it has all of it, as some on the way to a browser do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.server import HOST

__all__ = ["buffered"]

OWN = {"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"}
"""Headers that each connection has for itself."""


@contextmanager
def buffered(url: str) -> Iterator[str]:
    """Put such a proxy in front of a site, and give the address at which it is reached so."""
    with httpx.Client(base_url=url, timeout=60, follow_redirects=False) as behind:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                try:
                    answer = behind.get(self.path, headers=headers)  # All of it.
                except httpx.HTTPError:
                    return self.send_error(502)
                self.send_response(answer.status_code)
                for name, value in answer.headers.multi_items():
                    if name.lower() not in OWN:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *given: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer((HOST, 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
