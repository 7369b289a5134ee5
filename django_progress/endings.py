"""The verbs that end a process, and what can be done to one that has ended.

Whoever wins the one guarded write decides how it ends; everybody else is told that it has
finished. What people do is recorded (see ``audit.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_noop

from . import addresses, audit, errors, nudges, values
from .clock import DatabaseNow
from .coordination import get_coordinator
from .exceptions import ProcessActive, ProcessFinished, ProgressError
from .guarding import EXPIRED_TEXT
from .retrying import retried
from .status import TERMINAL, Outcome, Status, sources
from .tracking import Tracking
from .twins import twin
from .writes import Guard, NewEvent

if TYPE_CHECKING:
    from .models import Process

__all__ = ["CANCELLED_TEXT", "UNSET", "Endings", "failure_changes", "failure_event"]


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Any = _Unset()

CANCELLED_TEXT = gettext_noop("Cancelled.")
SUCCEEDED_TEXT = gettext_noop("Finished.")
TOO_LATE_TEXT = gettext_noop("It had finished before it could be cancelled.")


class Endings(Tracking):
    """How a process ends."""

    if TYPE_CHECKING:

        @property
        def is_finished(self) -> bool: ...

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
                    self.refresh_from_db(using=self._using)
                    return True
                raise ProcessFinished
            if not row.attempt_token or force:
                guard = Guard(sources(Status.CANCELLED), token=None if force else "")
                with transaction.atomic(using=self._using):
                    if self._finish(guard, Status.CANCELLED, changes, event, Outcome.CANCELLED):
                        audit.record(self, "cancelled", by)
                        return True
            if self._expire_if_overdue(wait=False):
                raise ProcessFinished
            # The attempt's row, which no report holds: asking doesn't wait.
            asked = attempts.filter(token=row.attempt_token, outcome="")
            if row.attempt_token and self._ask_to_cancel(asked, by):
                self._note_cancel_request(row.attempt_token)
                return False
            if row.attempt_token and asked.exists():
                return False
            # The attempt ended in between; what came of it is found on the next turn. If that
            # finds the same attempt, nobody is left who could stop by himself.
            force = force or row.attempt_token == gone != ""
            gone = row.attempt_token

    acancel = twin(cancel)

    def _ask_to_cancel(self, attempts: Any, by: Any) -> bool:
        with transaction.atomic(using=self._using):
            asked = attempts.filter(cancel_requested_at=None).update(
                cancel_requested_at=DatabaseNow(), cancel_requested_by=_user_pk(by)
            )
            if asked:
                audit.record(self, "cancelled", by, asked=True)
                nudges.changed(self._using, self.pk)
        return bool(asked)

    def expire(self, by: Any = None) -> None:
        """End it as if its deadline had passed. Raises ``ProcessFinished`` if it has ended already."""
        event = NewEvent(Status.EXPIRED.value, message=EXPIRED_TEXT, translatable=True)
        guard = Guard(sources(Status.EXPIRED), in_time=False)
        with transaction.atomic(using=self._using):
            if not self._finish(guard, Status.EXPIRED, {"ended_by_id": _user_pk(by)}, event, Outcome.EXPIRED):
                raise ProcessFinished
            audit.record(self, "expired", by)

    def retry(self, by: Any = None) -> Process:
        """Start the same work again as a new process, and return it.

        While that one is active, retrying again returns it: a double click is harmless.
        Raises ``ProcessActive`` while this one still runs, and ``RetryNotPossible`` without a
        task, or for a workflow that isn't defined here or no longer takes these arguments.
        """
        return self.__class__._default_manager.db_manager(self._using).start_again(self, by=by)  # type: ignore[attr-defined, no-any-return]

    aretry = twin(retry)

    @retried
    def remove(self, by: Any = None) -> None:
        """Delete a finished process with its events. Raises ``ProcessActive`` for one that has not finished."""
        if self.parent_id is not None:
            raise ProgressError("This is a step of a workflow, and is deleted with it; remove the workflow's process.")
        self._expire_if_overdue()
        rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
        if self.workflow and self.is_finished and not get_coordinator().wind_up(self):
            raise ProcessActive
        with transaction.atomic(using=self._using):
            row = rows.select_for_update().filter(pk=self.pk).first()
            if row is None:
                return
            if row.status not in TERMINAL:
                raise ProcessActive
            audit.record(row, "removed", by)
            rows.filter(pk=self.pk).delete()
            nudges.changed(self._using, self.pk)

    aremove = twin(remove)


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
