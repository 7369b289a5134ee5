"""The verbs of a process: the only code that changes one.

Each is one guarded write (see ``writes.py``). Verbs called while a task's body executes
carry its attempt's token, so that an attempt that was superseded changes nothing;
elsewhere the status alone guards. What may follow what is decided by ``status.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import transaction
from django.utils.functional import Promise

from . import addresses, execution, signals, values
from .conf import settings
from .endings import Endings
from .exceptions import ProgressError
from .retrying import retried
from .twins import twin
from .writes import NewEvent, Written

__all__ = ["Lifecycle"]

R = TypeVar("R")


class Lifecycle(Endings):
    """What can be done to a process."""

    if TYPE_CHECKING:
        message_pairs: list[list[str]]

    # -- reports -----------------------------------------------------------------------

    def milestone(
        self,
        name: str,
        description: str | Promise = "",
        *,
        type: str = "milestone",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Report that a named point is reached.

        ``description`` is for people; a lazy translation is shown in each reader's own
        language, formatted with ``details``. ``type`` may be an event type of your own.
        Belongs to the caller's transaction. Raises ``ValueError`` for the names that the
        app reaches itself, ``ProcessFinished`` when it is too late.
        """
        name = values.milestone_name(name)
        stored = None if details is None else values.json_object(details, "details")
        message, params = values.translatable(description, "description", stored)
        changes = {"milestone_name": name, "milestone_message": message, "milestone_params": params}
        written = self._put(NewEvent(values.event_type(type), name, message, params is not None, stored), changes)
        if written is not None and signals.milestone_reached.has_listeners(self.__class__):
            self._on_commit(
                partial(signals.milestone_reached.send_robust, self.__class__, process=self, name=name, seq=written.seq)
            )
        self._settle(written)

    amilestone = twin(milestone)

    def set_message(self, key: str, value: object) -> None:
        """Show ``value`` under ``key`` while it runs; the same key again replaces the value in place."""
        key = values.text(key, "key", limit=100, required=True)
        self._settle(self._beside(partial(self._put_message, key, values.text(value, "value"))))

    aset_message = twin(set_message)

    @retried
    def _put_message(self, key: str, shown: str) -> Written | None:
        with transaction.atomic(using=self._using):
            row = self._locked("message_pairs")
            pairs = [list(pair) for pair in (row.message_pairs if row else self.message_pairs)]
            for pair in pairs:
                if pair[0] == key:
                    pair[1] = shown
                    break
            else:
                if len(pairs) >= settings.MAX_MESSAGES:
                    raise ValueError(
                        f"There are {len(pairs)} messages already; use one of their keys, "
                        "or raise DJANGO_PROGRESS['MAX_MESSAGES']."
                    )
                pairs.append([key, shown])
            event = NewEvent("message", message=shown, details={"key": key}) if self._has_room() else None
            return self._put(event, {"message_pairs": pairs})

    def log(self, text: str | Promise, level: str = "info") -> None:
        """Add a line to the event log. Past ``MAX_EVENTS`` events the lines are no longer kept."""
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"level must be debug, info, warning or error, not {level!r}.")
        message, params = values.translatable(text, "text")
        event = NewEvent("log", message=message, translatable=params is not None, details={"level": level})
        if self._has_room():
            self._hint(event)
        else:
            self._check_when_due()

    alog = twin(log)

    def set_result(self, value: Any) -> None:
        """Leave a result, which may still be replaced. Raises ``TypeError`` for what isn't JSON."""
        event = NewEvent("result") if self._has_room() else None
        self._report(event, {"result": values.as_json(value, "The result")})

    aset_result = twin(set_result)

    def redirect_to(self, url: str) -> None:
        """Set where success leads. Raises ``UnsafeURL`` for another site."""
        self._report(None, {"success_url": addresses.stored_url(url, "url")})

    aredirect_to = twin(redirect_to)

    def checkpoint(self) -> None:
        """Write what was gathered, and stop here if the process was cancelled, has expired or was taken over."""
        self._hint(None)

    acheckpoint = twin(checkpoint)

    # -- what a body asks for ----------------------------------------------------------

    def attempt(self, fn: Callable[[], R]) -> R:
        """Call ``fn``; if what it returns is false, this attempt has failed.

        It is then tried again when the body returns, as after an exception: after
        ``retry_delay``, while attempts and time remain. Returns what ``fn`` returned.
        """
        asking = self._asking("attempt()")
        outcome = fn()
        if not outcome:
            asking.asked = "again"
        return outcome

    def requeue(self, delay: Any = None) -> None:
        """When the body returns, execute it again: on any worker, after ``delay``, its attempts counted anew.

        What comes next is up to the milestone at which that execution begins.
        """
        asking = self._asking("requeue()")
        asking.delay = None if delay is None else values.duration(delay, "delay")
        asking.asked = "requeue"

    def _asking(self, verb: str) -> execution.Execution:
        executing = self._execution()
        if executing is None:
            raise ProgressError(f"{verb} says how an execution ends; call it in the body of this process's task.")
        if executing.asked:
            raise ProgressError(f"{verb} comes too late: this execution was already asked to end another way.")
        self.checkpoint()
        return executing
