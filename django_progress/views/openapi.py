"""The description of what programs may ask, for the tools that read such things (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.urls.converters import UUIDConverter

from .. import __version__
from ..conf import settings
from ..responses import PROBLEM
from .api import MAX_SEQ, USUAL_EVENTS, with_etag
from .guards import for_everybody, safe_only
from .schemas import SCHEMAS, TEXT, WAY, Json

__all__ = ["describe", "description"]

SOME = UUID(int=0)


@for_everybody
@safe_only
def description(request: HttpRequest) -> HttpResponse:
    """Describe the addresses that answer JSON, and the stream: the same to everybody, and no secret."""
    return with_etag(request, JsonResponse(describe()))


def describe() -> Json:
    """Return the description, with the addresses as this project has them."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "django_progress",
            "version": __version__,
            "description": "How long-running processes stand: status, result, events, and the ways to stop them or to "
            "try them again. Starting one is up to the site, which answers 202 with the status and its address.",
        },
        "paths": {
            _path("status"): {
                "parameters": [KEY],
                "get": {
                    "operationId": "status",
                    "summary": "How it stands; 200 as long as the record exists, however it ended",
                    "parameters": [IF_NONE_MATCH],
                    "responses": {"200": _json("Status", **KNOWN, **PACED), **UNCHANGED, **PROBLEMS_OF_READING},
                },
            },
            _path("result"): {
                "parameters": [KEY],
                "get": {
                    "operationId": "result",
                    "summary": "What it leaves behind, or has left so far while it goes on",
                    "parameters": [IF_NONE_MATCH],
                    "responses": {"200": _json("Result", **KNOWN, **PACED), **UNCHANGED, **PROBLEMS_OF_READING},
                },
            },
            _path("events"): {
                "parameters": [KEY],
                "get": {
                    "operationId": "events",
                    "summary": "What happened after a number, in order and without gaps",
                    "parameters": [
                        _query("after", "The seq of the last event that is known.", default=0, maximum=MAX_SEQ),
                        _query(
                            "limit",
                            "How many events to tell at most; bounded by the server.",
                            default=min(USUAL_EVENTS, settings.EVENTS_PAGE_SIZE),
                        ),
                        _query(
                            "wait",
                            f"Seconds to wait for an event where there is none yet, {settings.LONG_POLL:g} at most. "
                            "A server that can't wait answers at once.",
                            default=0,
                        ),
                    ],
                    "responses": {"200": _json("Events"), "400": _problem("Bad query"), **PROBLEMS_OF_READING},
                },
            },
            _path("stream"): {
                "parameters": [KEY],
                "get": {
                    "operationId": "stream",
                    "summary": "The events as server-sent events, each as it happens; ends after the last one",
                    "description": "The data of each is one Event as JSON, its id the seq. An event of the type reset "
                    "holds what Events says under reset. Come back with Last-Event-ID; 204 means that it is over.",
                    "parameters": [
                        _query("after", "The seq of the last event that is known.", default=0, maximum=MAX_SEQ),
                        {
                            "name": "Last-Event-ID",
                            "in": "header",
                            "description": "The same, and goes before it.",
                            "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
                        },
                    ],
                    "responses": {
                        "200": {
                            "description": "The stream",
                            "content": {"text/event-stream": {"schema": TEXT}},
                        },
                        "204": {"description": "It has ended, and there is no more to tell"},
                        "400": _problem("Bad query"),
                        **PROBLEMS_OF_READING,
                        "406": _problem("This server can't stream; ask for the events instead"),
                        "503": _problem("Too many streams are open; ask for the events instead"),
                    },
                },
            },
            _path("cancel"): {
                "parameters": [KEY],
                "post": {
                    "operationId": "cancel",
                    "summary": "Ask for it to be cancelled; harmless when done twice, or too late",
                    "parameters": [CSRF],
                    "responses": {
                        "200": _json("Status"),
                        "202": _json("Status", **PACED),
                        **PROBLEMS_OF_CHANGING,
                    },
                },
            },
            _path("retry"): {
                "parameters": [KEY],
                "post": {
                    "operationId": "retry",
                    "summary": "Do the work of one that failed, expired or was cancelled again, as a new process",
                    "parameters": [CSRF],
                    "responses": {
                        "202": _json("Status", Location=_header("string", "The status of the new process."), **PACED),
                        "409": _problem("Still active, or nothing that could be done again"),
                        **PROBLEMS_OF_CHANGING,
                    },
                },
            },
            _path("rerun"): {
                "parameters": [KEY],
                "post": {
                    "operationId": "rerun",
                    "summary": "Run a workflow that has ended again, as a new process: what failed, unless it is said",
                    "parameters": [CSRF],
                    "requestBody": {
                        "content": {
                            "application/x-www-form-urlencoded": {
                                "schema": {"type": "object", "properties": {"way": WAY, "path": TEXT}}
                            }
                        }
                    },
                    "responses": {
                        "202": _json("Status", Location=_header("string", "The status of the new process."), **PACED),
                        "400": _problem("No such way"),
                        "409": _problem("Still active, no such step, nothing to run, or one that can't run alone"),
                        **PROBLEMS_OF_CHANGING,
                    },
                },
            },
            _path("rerun-plan"): {
                "parameters": [KEY],
                "get": {
                    "operationId": "plan",
                    "summary": "What would run again, and what would be reused",
                    "parameters": [
                        {
                            "name": "way",
                            "in": "query",
                            "description": "How much: what failed, unless it is said.",
                            "schema": WAY,
                        },
                        {"name": "path", "in": "query", "description": "A step, for from and only.", "schema": TEXT},
                    ],
                    "responses": {
                        "200": _json("Plan"),
                        "400": _problem("No such way"),
                        "409": _problem("Still active, no such step, nothing to run, or one that can't run alone"),
                        **PROBLEMS_OF_CHANGING,
                    },
                },
            },
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": django_settings.SESSION_COOKIE_NAME,
                    "description": "The session of who is logged in, or of a visitor; or whatever else the site takes.",
                }
            },
        },
        "security": [{"session": []}],
    }


def _path(name: str) -> str:
    return reverse(f"django_progress:process-{name}", args=[SOME]).replace(str(SOME), "{key}")


def _query(name: str, text: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "integer", "minimum": 0, **schema}}


def _header(kind: str, text: str) -> Json:
    return {"description": text, "schema": {"type": kind}}


def _json(schema: str, **headers: Json) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": schema, "content": content, "headers": headers}


def _problem(text: str) -> Json:
    return {"description": text, "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


KEY: Json = {
    "name": "key",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid", "pattern": f"^{UUIDConverter.regex}$"},
}
IF_NONE_MATCH: Json = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
CSRF: Json = {
    "name": "X-CSRFToken",
    "in": "header",
    "description": "The value of the CSRF cookie, where a session says who asks.",
    "schema": {"type": "string"},
}
RETRY_AFTER = _header("integer", "Seconds after which it is worth asking again, while it is active.")
ETAG = _header("string", "For If-None-Match.")
PACED: Json = {"Retry-After": RETRY_AFTER}
KNOWN: Json = {"ETag": ETAG}
UNCHANGED: Json = {"304": {"description": "The same as it was", "headers": {**KNOWN, **PACED}}}
PROBLEMS_OF_READING: Json = {"404": _problem("Not there, or not to be seen by who asks")}
PROBLEMS_OF_CHANGING: Json = {
    "403": _problem("To be seen, but not to be changed; or the CSRF check failed"),
    **PROBLEMS_OF_READING,
}
