"""The shapes of what programs are told, for the description of the API."""

from __future__ import annotations

from typing import Any

from ..status import Status, StepStatus
from ..workflows import Way

__all__ = ["COUNT", "SCHEMAS", "TEXT", "WAY", "Json"]

Json = dict[str, Any]


def _object(*, optional: tuple[str, ...] = (), **properties: Json) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
TIME: Json = {"type": "string", "format": "date-time"}
ANYTHING: Json = {"description": "Any JSON."}
URL: Json = {"type": "string", "format": "uri-reference"}
STATUS: Json = {"type": "string", "enum": Status.values}
ID: Json = {"type": "string", "format": "uuid"}
DETAILS: Json = {"type": "object"}
WAY: Json = {"type": "string", "enum": [way.value for way in Way]}
ERROR = _or_null(_object(message=TEXT, reference=TEXT))
EVENT = _object(id=TEXT, seq=COUNT, type=TEXT, name=TEXT, message=TEXT, happened_at=TIME, details=DETAILS)
PERCENT: Json = {"type": "number", "minimum": 0, "maximum": 100}
STEP = _object(
    id=_or_null(ID),
    path=TEXT,
    description=TEXT,
    status={"type": "string", "enum": StepStatus.values},
    reused=FLAG,
    percent=_or_null(PERCENT),
    parts=_or_null(_object(total=COUNT, left=COUNT, failed=COUNT)),
    attempt=_or_null(_object(number=COUNT, max=COUNT)),
    started_at=_or_null(TIME),
    finished_at=_or_null(TIME),
    error=_or_null(TEXT),
)

SCHEMAS: Json = {
    "Status": _object(
        id=ID,
        kind=TEXT,
        description=TEXT,
        status=STATUS,
        done=FLAG,
        progress=_object(
            current=NUMBER,
            total=_or_null(NUMBER),
            percent=_or_null(PERCENT),
            unit=TEXT,
            rate=_or_null(NUMBER),
            eta_seconds=_or_null(COUNT),
        ),
        messages=_list(_object(key=TEXT, value=TEXT)),
        milestones=_list(
            _object(seq=COUNT, name=TEXT, type=TEXT, message=TEXT, happened_at=TIME, details=DETAILS),
        ),
        steps=_list(STEP),
        attempt=_object(number=COUNT, max=COUNT, next_at=_or_null(TIME), worker_silent=FLAG),
        waiting=_or_null(
            _object(
                ahead=_or_null(COUNT),
                worker_listening=_or_null(FLAG),
                after=_or_null(_object(outcome=TEXT, message=TEXT)),
            )
        ),
        quiet_seconds=_or_null(COUNT),
        cancel_requested=FLAG,
        created_at=TIME,
        started_at=_or_null(TIME),
        updated_at=TIME,
        finished_at=_or_null(TIME),
        expires_at=_or_null(TIME),
        seq=COUNT,
        result=ANYTHING,
        error=ERROR,
        url=URL,
        links=_object(
            optional=("cancel", "retry", "rerun", "finished"),
            **dict.fromkeys(
                ("status", "result", "events", "stream", "page", "wait", "cancel", "retry", "rerun", "finished"), URL
            ),
        ),
    ),
    "Result": _object(
        id=ID,
        kind=TEXT,
        description=TEXT,
        status=STATUS,
        done=FLAG,
        result=ANYTHING,
        error=ERROR,
        finished_at=_or_null(TIME),
        seq=COUNT,
        url=URL,
        links=_object(status=URL, page=URL),
    ),
    "Plan": _object(
        id=ID,
        way=WAY,
        path=TEXT,
        runs=COUNT,
        reused=COUNT,
        stale=COUNT,
        steps=_list(
            _object(
                path=TEXT,
                description=TEXT,
                fate={"type": "string", "enum": ["runs", "partly", "reused", "stale"]},
                parts=_or_null(_object(total=COUNT, run=COUNT)),
            )
        ),
        links=_object(rerun=URL),
    ),
    "Event": EVENT,
    "Events": _object(
        events=_list({"$ref": "#/components/schemas/Event"}),
        last_seq=COUNT,
        done=FLAG,
        reset=_or_null(_object(after=COUNT, reason={"type": "string", "enum": ["purged", "unknown"]})),
    ),
    "Problem": _object(type=URL, title=TEXT, status=COUNT, detail=TEXT, code=TEXT),
}
