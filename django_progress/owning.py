"""What a visitor started becomes theirs when they log in."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.db import DatabaseError, connections, router, transaction
from django.http import HttpRequest

from . import audit, nudges, visitors
from .models import Action, Process, Via
from .querysets import ProcessQuerySet

__all__ = ["adopt"]

logger = logging.getLogger("django_progress")

TURNS, PAUSE = 5, 0.05
"""How often, and how many seconds apart, those are tried that somebody holds."""
MOST = 1_000
"""Processes that one login takes over, the newest."""


def adopt(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    """Make the processes of the visitor who has just logged in the user's own.

    Django has dropped the session before if it was another user's, and with it the token.
    The token is used up: who visits without an account from here on is a new visitor.
    """
    visitor = visitors.take_leave(request)
    if not visitor:
        return
    try:
        with audit.acting(Via.WEB, user):
            _take_over(visitor, user.pk)
    except DatabaseError:
        # Django has replaced the stored session already: an error here would cost the login.
        logger.exception("What a visitor had started could not be made the own of user %s.", user.pk)


def _take_over(visitor: str, user_pk: Any) -> None:
    using = router.db_for_write(Process)
    mine = Process.objects.using(using).filter(visitor=visitor, owner_id=None)
    left = list(mine.order_by("-pk").values_list("pk", flat=True)[:MOST])
    for _turn in range(TURNS):
        left = [pk for pk in left if not _take(mine.filter(pk=pk), using, user_pk)]
        if not left:
            return
        time.sleep(PAUSE)


def _take(row: ProcessQuerySet, using: str, user_pk: Any) -> bool:
    """Make one process the user's, unless somebody holds it: the login doesn't wait for a report."""
    skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using):
        process = row.select_for_update(skip_locked=skip).first()
        if process is None:
            return False
        # Whoever replays the visitor's idempotency key is not its owner.
        row.update(owner_id=user_pk, visitor="", idempotency_hash=None)
        audit.record(process, Action.CLAIMED)
        nudges.access_changed(using, process.pk)
    return True


user_logged_in.connect(adopt, dispatch_uid="django_progress.adopt")
