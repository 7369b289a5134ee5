"""Who did what to a process, when and by which way: written in the transaction in which it was done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from django.apps import apps

from . import clock, values

__all__ = ["acting", "record"]


class _Acting(NamedTuple):
    via: str
    user: Any


_acting: ContextVar[_Acting | None] = ContextVar("django_progress_acting", default=None)


@contextmanager
def acting(via: str, user: Any = None) -> Iterator[None]:
    """Have what is done in the block recorded as done by ``user``, by the way ``via`` (see ``models.Via``)."""
    before = _acting.set(_Acting(via, user))
    try:
        yield
    finally:
        _acting.reset(before)


def record(process: Any, action: str, by: Any = None, **details: Any) -> None:
    """Record what somebody did. Belongs into the transaction that does it."""
    via, user = _acting.get() or _Acting("code", None)
    actor = user if by is None else by
    pk = getattr(actor, "pk", None)
    apps.get_model("django_progress", "AuditEntry")._default_manager.using(process._using).create(
        process_key=process.key,
        process_title=values.text(process.title, "title", limit=255),
        action=action,
        actor_id=pk,
        actor_name=values.text(actor.get_username() if pk is not None else "", "name", limit=255),
        via=via,
        details=details,
        happened_at=clock.read(process._using),
    )
