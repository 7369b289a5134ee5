"""That the description of the API is true: five thousand requests, made up from it, and no answer outside of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from django_progress.status import Status
from django_progress.views.openapi import describe
from tests.api.world import cookies_of, every_process

pytestmark = pytest.mark.django_db

REQUESTS = 5_000
# What has to have been met, or nothing was tried.
EXPECTED = {
    "status": (200, 304, 404),
    "result": (200, 304, 404),
    "events": (200, 400, 404),
    "stream": (400, 404, 406),
    "cancel": (200, 202, 403, 404),
    "retry": (202, 403, 404, 409),
    "rerun": (202, 403, 404, 409),
    "plan": (200, 403, 404, 409),
}
CONFIG = {
    "generation": {"with-security-parameters": False},
    # Here nothing is streamed: this is WSGI.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", 403, 404, 406, 409]}},
}
CSRF_SECRET = "a" * 32
MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def one_transaction() -> Iterator[None]:
    """Keep the connection, and so the transaction, from one request to the next, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def strictly(schema: Any) -> Any:
    """Return a description in which whatever isn't described is wrong."""
    if isinstance(schema, list):
        return [strictly(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: strictly(value) for name, value in schema.items()}
    if "properties" in strict and strict.get("type") == "object":
        strict["additionalProperties"] = False
    return strict


def test_no_answer_is_outside_the_description(caplog: pytest.LogCaptureFixture) -> None:
    ann, ben = (User.objects.create_user(name) for name in ("ann", "ben"))
    processes = every_process(ann, ben)
    assert {process.status for process in processes} >= {*Status.values} - {Status.EXPIRED}
    keys = [*(str(process.key) for process in processes), MISSING]
    owner = cookies_of(ann)
    who = strategies.sampled_from([cookies_of(ben), cookies_of(None)])
    config = schemathesis.Config.from_dict(CONFIG)
    schema = schemathesis.openapi.from_dict(strictly(describe()), config=config)
    schema.app = WSGIHandler()
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 8
    seen: Counter[str] = Counter()

    # What is refused is not worth a line each.
    caplog.set_level(logging.ERROR, "django")

    def explore(operation: Any, mode: GenerationMode, count: int) -> None:
        cases = [operation.as_strategy(generation_mode=mode, path_parameters={"key": key}) for key in keys]

        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(strategies.one_of(cases), who, strategies.booleans())
        def ask(case: Any, others: dict[str, str], has_token: bool) -> None:
            case.headers["Accept"] = "application/json"
            if has_token:
                case.headers["X-CSRFToken"] = CSRF_SECRET
            for cookies in (owner, others):
                case.cookies = {**cookies, "csrftoken": CSRF_SECRET}
                with transaction.atomic():
                    response = case.call()
                    transaction.set_rollback(True)
                seen[f"{operation.label.split('/')[-2]} {response.status_code}"] += 1
                case.validate_response(response, excluded_checks=[ignored_auth])

        ask()

    for operation in operations:
        modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.query else [])]
        for mode in modes:
            explore(operation, mode, REQUESTS // 2 // len(operations) // len(modes) + 1)
    assert sum(seen.values()) >= REQUESTS
    for name, codes in EXPECTED.items():
        assert {code for code in codes if not seen[f"{name} {code}"]} == set(), name
