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
from django.utils.translation import gettext_noop

from . import addresses, errors, execution, signals, values
from .clock import DatabaseNow
from .conf import settings
from .exceptions import (
    ProcessActive,
    ProcessFinished,
    ProgressError,
)
from .guarding import EXPIRED_TEXT
from .status import TERMINAL, Outcome, Status, sources
from .tracking import Tracking
from .twins import twin
from .writes import Guard, NewEvent, retried

if TYPE_CHECKING:
    from .models import Process

__all__ = ["UNSET", "Lifecycle"]

R = TypeVar("R")


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Any = _Unset()

CANCELLED_TEXT = gettext_noop("Cancelled.")
SUCCEEDED_TEXT = gettext_noop("Finished.")
TOO_LATE_TEXT = gettext_noop("It had finished before it could be cancelled.")


class Lifecycle(Tracking):
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

    @retried
    def set_message(self, key: str, value: object) -> None:
        """Show ``value`` under ``key`` while it runs; the same key again replaces the value in place."""
        key = values.text(key, "key", limit=100, required=True)
        shown = values.text(value, "value")
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
            written = self._put(event, {"message_pairs": pairs})
        self._settle(written)

    aset_message = twin(set_message)

    def log(self, text: str | Promise, level: str = "info") -> None:
        """Add a line to the event log. Past ``MAX_EVENTS`` events the lines are no longer kept."""
        if level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"level must be debug, info, warning or error, not {level!r}.")
        message, params = values.translatable(text, "text")
        event = NewEvent("log", message=message, translatable=params is not None, details={"level": level})
        if self._has_room():
            self._report(event)
        else:
            self.checkpoint()

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
        self._report(None)

    acheckpoint = twin(checkpoint)

    # -- ends --------------------------------------------------------------------------

    def succeed(self, result: Any = UNSET, *, redirect_url: str | None = None) -> None:
        """End it well, leaving ``result`` (JSON) if one is given.

        Raises ``TypeError`` for a result that isn't JSON, ``UnsafeURL``, and
        ``ProcessFinished`` if somebody else ended it first.
        """
        changes: dict[str, Any] = {}
        if result is not UNSET:
            changes["result"] = values.as_json(result, "The result")
        if redirect_url is not None:
            changes["success_url"] = addresses.stored_url(redirect_url, "redirect_url")
        event = NewEvent(Status.SUCCEEDED.value, message=SUCCEEDED_TEXT, translatable=True)
        late = event._replace(message=TOO_LATE_TEXT, details={"cancel_requested": True})
        self._end(Status.SUCCEEDED, changes, event, late)

    asucceed = twin(succeed)

    def fail(self, error: BaseException | str | Promise) -> None:
        """End it badly. A text is shown to people; of an exception they get a reference, staff the traceback."""
        failure = errors.describe(error)
        self._end(Status.FAILED, failure_changes(failure), failure_event(Status.FAILED, failure))

    afail = twin(fail)

    @retried
    def cancel(self, by: Any = None, force: bool = False) -> bool:
        """Cancel it, and return whether it is over.

        A pending one, and one without a task, is over at once. A task that is running is
        asked to stop: it does at its next report, and if it returns before that it has
        succeeded. ``force`` doesn't wait for it; whatever it still reports is refused.
        Cancelling twice is harmless; a process that ended otherwise raises ``ProcessFinished``.
        """
        attempts = self._attempts()
        changes = {"ended_by_id": _user_pk(by)}
        event = NewEvent(Status.CANCELLED.value, message=CANCELLED_TEXT, translatable=True)
        gone = ""
        while True:
            row = self._fresh()
            if row is None or row.status in TERMINAL:
                if row is not None and row.status == Status.CANCELLED:
                    self.refresh_from_db()
                    return True
                raise ProcessFinished
            if not row.attempt_token or force:
                guard = Guard(sources(Status.CANCELLED), token=None if force else "")
                if self._finish(guard, Status.CANCELLED, changes, event, Outcome.CANCELLED):
                    return True
            if self._expire_if_overdue(wait=False):
                raise ProcessFinished
            # The attempt's row, which no report holds: asking doesn't wait.
            asked = attempts.filter(token=row.attempt_token, outcome="")
            if row.attempt_token and asked.filter(cancel_requested_at=None).update(
                cancel_requested_at=DatabaseNow(), cancel_requested_by=_user_pk(by)
            ):
                self._note_cancel_request(row.attempt_token)
                return False
            if row.attempt_token and asked.exists():
                return False
            # The attempt ended in between; what came of it is found on the next turn. If that
            # finds the same attempt, nobody is left who could stop by himself.
            force = force or row.attempt_token == gone != ""
            gone = row.attempt_token

    acancel = twin(cancel)

    def expire(self, by: Any = None) -> None:
        """End it as if its deadline had passed. Raises ``ProcessFinished`` if it has ended already."""
        event = NewEvent(Status.EXPIRED.value, message=EXPIRED_TEXT, translatable=True)
        guard = Guard(sources(Status.EXPIRED), in_time=False)
        if not self._finish(guard, Status.EXPIRED, {"ended_by_id": _user_pk(by)}, event, Outcome.EXPIRED):
            raise ProcessFinished

    def retry(self, by: Any = None) -> Process:
        """Start the same work again as a new process, and return it.

        While that one is active, retrying again returns it: a double click is harmless.
        Raises ``ProcessActive`` while this one still runs, ``RetryNotPossible`` without a task.
        """
        return self.__class__._default_manager.db_manager(self._using).start_again(self, by=by)  # type: ignore[attr-defined, no-any-return]

    aretry = twin(retry)

    @retried
    def remove(self) -> None:
        """Delete a finished process with its events. Raises ``ProcessActive`` for one that has not finished."""
        self._expire_if_overdue()
        rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
        with transaction.atomic(using=self._using):
            row = rows.select_for_update().filter(pk=self.pk).first()
            if row is None:
                return
            if row.status not in TERMINAL:
                raise ProcessActive
            rows.filter(pk=self.pk).delete()

    aremove = twin(remove)

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


def failure_changes(failure: errors.Failure) -> dict[str, Any]:
    """Return the columns, of a process and of an attempt alike, that say why it failed."""
    return {"error": failure.public, "error_reference": failure.reference, "error_detail": failure.detail}


def failure_event(type: str, failure: errors.Failure, **details: Any) -> NewEvent:
    """Return the event that tells people of a failure."""
    if failure.reference:
        details["reference"] = failure.reference
    own = failure.public in errors.OWN
    return NewEvent(str(getattr(type, "value", type)), "", failure.public, own, details or None)


def _user_pk(user: Any) -> Any:
    return getattr(user, "pk", None)
