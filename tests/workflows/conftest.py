from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_progress.workflows import Workflow, registry
from tests.unit.conftest import conf, engine

__all__ = ["conf", "engine"]

_numbers = count(1)


@pytest.fixture
def define() -> Iterator[Callable[..., Workflow]]:
    """Define workflows that are forgotten afterwards, each under a name of its own."""
    names = []

    def workflow(name: str | None = None, **options: Any) -> Workflow:
        names.append(name or f"workflow-{next(_numbers)}")
        return Workflow(names[-1], **options)

    yield workflow
    for name in names:
        registry.forget(name)


@pytest.fixture
def eager(conf: Any) -> Any:
    """Have Celery execute at once."""
    conf.update(task_always_eager=True)
    return conf


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def client(ann: User) -> Client:
    client = Client()
    client.force_login(ann)
    return client
