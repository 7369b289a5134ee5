"""The word that something changed, and where whoever passes it on registers itself.

A word says what to look at, never what is there: ``"17"`` (process 17 changed), ``"access 17"``
(who may see it changed), ``"session <digest>"`` (a session ended). One that gets lost costs
whoever waits for it the time until they look by themselves. So nothing here may cost the
writer anything: it is sent after the commit, doesn't raise, and doesn't wait for anybody.
"""

from __future__ import annotations

import logging
from typing import Protocol

from django.db import transaction

__all__ = ["Sender", "access_changed", "changed", "register", "send"]

logger = logging.getLogger("django_progress")


class Sender(Protocol):
    """What is asked of a sender: to take a word, at once."""

    def send(self, word: str) -> None:
        """Take one word; it is sent soon, together with others, or lost."""


_sender: Sender | None = None


def register(sender: Sender | None) -> None:
    """Make ``sender`` the one that passes words on; None for nobody."""
    global _sender
    _sender = sender


def changed(using: str, pk: int) -> None:
    """Say that a process has changed, once the transaction that changed it is committed."""
    if _sender is not None:
        _send_on_commit(using, str(pk))


def access_changed(using: str, pk: int) -> None:
    """Say that it has changed who may see a process, on the same terms."""
    if _sender is not None:
        _send_on_commit(using, f"access {pk}")


def send(word: str) -> None:
    """Say a word now."""
    if _sender is not None:
        try:
            _sender.send(word)
        except Exception:
            logger.exception("The word %r could not be passed on.", word)


def _send_on_commit(using: str, word: str) -> None:
    connection = transaction.get_connection(using)
    if not (connection.in_atomic_block or connection.get_autocommit()):
        # Its commit is the caller's own, and Django tells nobody of it.
        return

    def after_commit() -> None:
        send(word)

    connection.on_commit(after_commit)
