"""What every verb does underneath: the guarded write, what follows from it, and why one was refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.utils.translation import gettext_noop

from . import beside, execution, failpoints, signals
from .clock import DatabaseNow
from .conf import settings
from .coordination import get_coordinator
from .exceptions import ProcessCancelled, ProcessExpired, ProcessFinished, ProcessSuperseded
from .holding import Holding
from .retrying import retried
from .status import ACTIVE, Outcome, Status, sources
from .writes import NOW, Add, AtLeast, Guard, NewEvent, Peak, Written, write

__all__ = ["EXPIRED_TEXT", "Guarded"]

EXPIRED_TEXT = gettext_noop("The time allowed for it has passed.")


class Guarded(Holding):
    """The machinery under the verbs."""

    if TYPE_CHECKING:
        status: str
        last_seq: int
        revision: int
        executions: int
        workflow: str
        keep_finished: float | None
        current: float
        total: float | None
        percent_peak: float
        event_set: Any
        _meta: Any
        _state: Any
        refresh_from_db: Any

        def _ticks(self) -> execution.Ticks: ...
        def _columns(self, ticks: execution.Ticks, numbers: execution.Numbers) -> dict[str, Any]: ...

    def _execution(self) -> execution.Execution | None:
        executing = execution.current.get()
        if executing is not None and executing.process_id == self.pk:
            return executing
        return self.__dict__.get("_bound")

    def _attempts(self) -> Any:
        return self._meta.apps.get_model("django_progress", "Attempt").objects.using(self._using)

    def _has_room(self) -> bool:
        return bool(self.last_seq < settings.MAX_EVENTS)

    def _on_commit(self, function: Callable[[], Any]) -> None:
        def after_commit() -> None:
            function()

        # With a name of its own: Django 5.2 asks for it when it logs an error, and a partial has none.
        transaction.on_commit(after_commit, using=self._using, robust=True)

    def _report(self, event: NewEvent | None, changes: dict[str, Any]) -> None:
        """Write what belongs to the caller's transaction."""
        self._settle(self._put(event, changes))

    def _hint(self, event: NewEvent | None) -> None:
        """Write what is to be seen at once, whatever becomes of the caller's transaction."""
        if event is None and not self._ticks().pending:
            self._check(self._execution())
        else:
            self._settle(self._beside(partial(self._put, event, {})))

    def _beside(self, put: Callable[[], Written | None]) -> Written | None:
        executing = self._execution()
        return beside.written(self._using, executing is not None and executing.committed, put, self._give_back)

    def _put(self, event: NewEvent | None, changes: dict[str, Any]) -> Written | None:
        """Write as whoever executes here may; None if that was refused."""
        self._begin()
        executing = self._execution()
        return self._write(Guard(ACTIVE, token=executing.token if executing else None), changes, event)

    def _settle(self, written: Written | None) -> None:
        """Stop here if a write was refused or cancelling was asked for. Not for within a transaction of our own."""
        executing = self._execution()
        if written is None:
            self._explain(executing)
        elif executing is not None and written.cancel_requested:
            raise ProcessCancelled

    @retried
    def _write(
        self, guard: Guard, changes: dict[str, Any], event: NewEvent | None = None, *, whole: bool = False
    ) -> Written | None:
        """Write, the gathered numbers included; these are kept for the next write if this one does not happen.

        ``whole`` brings this instance up to date with all of its row, as reading it again would.
        """
        ticks = self._ticks()
        before, began = ticks.sampled(), time.monotonic()
        numbers = ticks.take()
        changes = {**self._columns(ticks, numbers), **changes}
        written = None
        row: dict[str, Any] | None = {} if whole else None
        try:
            written = write(self._using, self.pk, guard, changes, event, row)
        finally:
            ticks.taken.append((numbers, before))
            if written is None:
                ticks.give_back(1)
        if written is not None:
            self._apply(written, changes)
            for name, value in (row or {}).items():
                setattr(self, name, value)
            if self.parent_id is not None and ticks.is_passed_on(began, numbers, event and event.type):
                self._on_commit(partial(get_coordinator().reported, self))
            executing = self._execution()
            if executing is not None and beside.alias.get() is None:
                self._in_the_callers(executing)
        return written

    def _in_the_callers(self, executing: execution.Execution) -> None:
        """See to what a report means to the caller's transaction, if it was written in one."""
        connection = connections[self._using]
        if connection.vendor != "sqlite":
            # That holds the row from now on.
            beside.keep_to_the_caller(connection)
        elif connection.in_atomic_block and time.monotonic() - executing.renewed_at >= executing.beat:
            # That locks the heartbeat out.
            executing.renewed_at = time.monotonic()
            attempts = self._attempts().filter(token=executing.token)
            attempts.update(lease_until=DatabaseNow(executing.lease), doubted_at=None)

    def _begin(self) -> None:
        """Begin a transaction of our own: what it takes of the gathered numbers may have to be given back."""
        self._ticks().taken.clear()

    def _give_back(self) -> None:
        """Take the numbers back that were written in a transaction which was rolled back."""
        self._ticks().give_back()

    def _check(self, executing: execution.Execution | None) -> None:
        """Stop here if there is a reason to, without writing."""
        row = self.__class__._default_manager.using(self._using).with_now().filter(pk=self.pk).first()  # type: ignore[attr-defined]
        if row is None or row.is_finished or (executing and row.attempt_token != executing.token):
            self._explain(executing)
        elif executing is not None and row.is_stopping:
            raise ProcessCancelled

    def _explain(self, executing: execution.Execution | None) -> None:
        """Say why a write was refused. Always raises."""
        self._expire_if_overdue()
        row = self._fresh()
        if executing is None or executing.finished:
            raise ProcessFinished
        if row is not None and row.status == Status.CANCELLED:
            raise ProcessCancelled
        if row is not None and row.status == Status.EXPIRED:
            raise ProcessExpired
        raise ProcessSuperseded

    def _apply(self, written: Written, changes: dict[str, Any]) -> None:
        """Bring this instance up to date with what it has just written."""
        self.last_seq, self.revision = written.seq, written.revision
        for name, value in changes.items():
            if isinstance(value, Add):
                setattr(self, name, getattr(self, name) + value.value)
            elif isinstance(value, AtLeast):
                setattr(self, name, max(getattr(self, name), value.value) + value.more)
            elif isinstance(value, Peak):
                # Comes before the numbers, as in SQL.
                share = min(1.0, self.current / self.total) if self.total else 0.0
                setattr(self, name, max(getattr(self, name), share))
            elif not isinstance(value, tuple):
                setattr(self, name, value)

    def _end(self, status: Status, changes: dict[str, Any], event: NewEvent, late: NewEvent | None = None) -> None:
        executing = self._execution()
        guard = Guard(sources(status), token=executing.token if executing else None)
        outcome = Outcome(status.value) if executing else Outcome.SUPERSEDED
        if executing is not None:
            executing.finished = True  # Before the signal is sent, whose receivers are in the body too.
        done = False
        try:
            done = self._finish(guard, status, changes, event, outcome, late)
        finally:
            if executing is not None:
                executing.finished = done
        if not done:
            self._explain(executing)

    @retried
    def _finish(
        self,
        guard: Guard,
        status: Status,
        changes: dict[str, Any],
        event: NewEvent,
        outcome: Outcome,
        late: NewEvent | None = None,
    ) -> bool:
        """Make it terminal, close its attempt and log the end, unless somebody was faster.

        ``late`` says it instead of ``event`` if cancelling was asked for.
        """
        error = {name: value for name, value in changes.items() if name.startswith("error")}
        changes = {
            "status": status.value,
            "finished_at": NOW,
            "attempt_token": "",
            "due_at": None,
            "next_attempt_at": None,
            "retry_slot": None,
            **changes,
        }
        with transaction.atomic(using=self._using):
            self._hold_parent()
            # Receivers and callers see it as it is now.
            if self._write(guard, changes, event, whole=True) is None:
                return False
            attempts = self._attempts().executing().filter(process_id=self.pk)
            closing = {"outcome": outcome.value, "finished_at": DatabaseNow(), **error}
            # Most likely nobody has asked it to stop.
            unasked = guard.token and late and attempts.filter(cancel_requested_at=None).update(**closing)
            if not unasked:
                attempts.update(**closing)
            if self.keep_finished is not None and self.parent_id is None:
                rows = self.__class__._default_manager.using(self._using)  # type: ignore[attr-defined]
                rows.filter(pk=self.pk).update(remove_at=DatabaseNow(self.keep_finished))
            if late is not None and not unasked and self._was_asked_to_cancel():
                # Nobody has seen this event yet, and from now on nobody can ask any more.
                events = self.event_set.using(self._using).filter(seq=self.last_seq)
                events.update(message=late.message, details=late.details)
            if self.parent_id is not None or self.workflow:
                get_coordinator().ended(self)
            failpoints.reach("end.before_commit")
            if self.parent_id is None:
                self._on_commit(partial(signals.process_finished.send_robust, self.__class__, process=self))
        return True

    def _was_asked_to_cancel(self) -> bool:
        last = self._attempts().filter(process_id=self.pk, number=self.executions)
        return bool(last.filter(cancel_requested_at__isnull=False).exists())

    @retried
    def _note_cancel_request(self, token: str) -> None:
        """Log that cancelling was asked for, unless a report holds the row: the request itself is stored."""
        with transaction.atomic(using=self._using):
            if self._is_free():
                event = NewEvent("cancel_requested", message=gettext_noop("Cancelling…"), translatable=True)
                self._write(Guard(ACTIVE, token=token), {}, event)

    @retried
    def _expire_if_overdue(self, *, wait: bool = True) -> bool:
        """Store the expiry of a process whose deadline has passed; return whether this call did.

        Without ``wait``, a row that somebody holds is left to the next who looks.
        """
        if self.parent_id is not None:
            return False  # The deadline is the workflow's.
        event = NewEvent(Status.EXPIRED.value, message=EXPIRED_TEXT, translatable=True)
        guard = Guard(sources(Status.EXPIRED), in_time=False, overdue=True)
        if wait:
            return self._finish(guard, Status.EXPIRED, {}, event, Outcome.EXPIRED)
        with transaction.atomic(using=self._using):
            return self._is_free() and self._finish(guard, Status.EXPIRED, {}, event, Outcome.EXPIRED)
