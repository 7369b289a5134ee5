"""How processes come to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connections, models, router, transaction
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_noop

from . import audit, clock, engines, failpoints, nudges, signals, values, visitors
from .clock import DatabaseNow
from .conf import settings
from .coordination import plan_again
from .exceptions import IdempotencyConflict, ProcessActive, RetryNotPossible
from .idempotency import hashed, scope_of
from .options import URLS, check_options
from .retrying import retried
from .starter import Plan, TaskLike, WorkflowLike
from .status import TERMINAL, Status

if TYPE_CHECKING:
    from .models import Process

__all__ = ["AGAIN_AFTER", "ProcessManager", "publish", "publish_on_commit"]

AGAIN_AFTER = 5.0
"""Seconds after which a message that could not be sent is sent again."""

STARTED_TEXT = gettext_noop("Started.")
COPIED = (
    "owner_id", "visitor", "kind", "description", "description_params", "initial_total", "unit", "context", *URLS,
    "task_name", "task_args", "task_kwargs", "task_options", "max_attempts", "retry_delay", "attempt_timeout",
    "lease", "max_duration", "keep_finished", "workflow",
)  # fmt: skip
"""What a retry takes over."""


class ProcessManager(models.Manager["Process"]):
    """Starts processes."""

    def start(
        self,
        description: str | Promise | None = None,
        *,
        request: HttpRequest | None = None,
        owner: Any = None,
        task: TaskLike | None = None,
        workflow: WorkflowLike | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        context: Any = None,
        details: Mapping[str, Any] | None = None,
        kind: str | None = None,
        max_duration: float | timedelta | None = None,
        max_attempts: int | None = None,
        retry_delay: float | timedelta | None = None,
        attempt_timeout: float | timedelta | None = None,
        lease: float | timedelta | None = None,
        keep_finished: float | timedelta | None = None,
        total: float | None = None,
        unit: str | None = None,
        redirect_url: str | None = None,
        success_url: str | None = None,
        failure_url: str | None = None,
        expired_url: str | None = None,
        cancelled_url: str | None = None,
        idempotency_key: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Process:
        """Start a process, and return it.

        With a ``task`` it is ``pending`` until a worker takes it; without one it is
        ``running`` at once and moved by whoever holds it, or by the steps of a ``workflow``,
        which takes its arguments by name (``kwargs``). Nothing is left of it if the
        transaction that it was started in is rolled back.

        ``request`` makes the user who is logged in its owner, binds it to the visitor who has
        no account by a token in the session, and brings the ``Idempotency-Key`` header.
        Durations are seconds or timedeltas; ``max_duration`` is the deadline, counted from
        now, and ``keep_finished`` how long it is kept once it has ended, instead of
        ``KEEP_FINISHED``: 0 removes it after the minute in which pages lead on.
        URLs are paths of this site, or of a host in ``ALLOWED_REDIRECT_HOSTS``;
        ``{key}`` in them stands for the process's key.
        ``details`` are the parameters of a description that is a lazy translation.
        What is left out is taken from what the task declares.

        Raises ``TypeError`` and ``ValueError`` for what can't be stored, ``UnsafeURL``,
        and ``IdempotencyConflict`` for a key that was used for something else.
        """
        if task is not None and not (hasattr(task, "declared") and hasattr(task, "name")):
            raise TypeError(f"task must be a function decorated with @progress_task, not {task!r:.100}.")
        given: dict[str, Any] = {
            "description": description, "kind": kind, "max_duration": max_duration, "max_attempts": max_attempts,
            "retry_delay": retry_delay, "attempt_timeout": attempt_timeout, "lease": lease,
            "keep_finished": keep_finished, "total": total, "unit": unit,
            "redirect_url": redirect_url, "success_url": success_url, "failure_url": failure_url,
            "expired_url": expired_url, "cancelled_url": cancelled_url,
        }  # fmt: skip
        work = task or workflow
        declared = dict(work.declared) if work is not None else {}
        chosen = declared | {name: value for name, value in given.items() if value is not None}
        fields = check_options(chosen, request=request, details=details)
        fields["owner_id"] = _owner_pk(owner, request)
        fields["context"] = {} if context is None else values.as_json(context, "context")
        plan: Plan | None = None
        if work is not None:
            if task is not None:
                task.check_arguments(args, {} if kwargs is None else kwargs)
                fields["task_name"] = values.fitting(task.name, "The name of the task")
            fields |= {
                "task_args": values.as_json(list(args), "args"),
                "task_kwargs": values.json_object(kwargs or {}, "kwargs"),
                "task_options": values.as_json({**work.options, **(options or {})}, "options"),
            }
            if workflow is not None:
                fields["workflow"] = workflow.name
                plan = workflow.plan(fields["task_kwargs"])
            if self._using != router.db_for_write(self.model):
                raise ValueError(
                    f"A process with a task must be in the database {router.db_for_write(self.model)!r}, where workers "
                    f"look for it, not in {self._using!r}."
                )
        elif args or kwargs or options:
            raise TypeError("args, kwargs and options are for a task; give the task too.")
        fields["visitor"] = visitors.recognise(request) if fields["owner_id"] is None else ""
        scope = scope_of(fields)
        if request is not None and not scope:
            # Of strangers who can't be told apart, one must not be given what another one started.
            idempotency_key = None
        elif idempotency_key is None and request is not None:
            idempotency_key = request.headers.get("Idempotency-Key", "").strip() or None
        if idempotency_key is None:
            return _brought_up_to_date(self._create(fields, plan))
        return _brought_up_to_date(self._create_once(fields, idempotency_key, scope, plan))

    async def astart(self, *args: Any, **kwargs: Any) -> Process:
        """Start a process from asynchronous code (see :meth:`start`)."""
        from asgiref.sync import sync_to_async

        return await sync_to_async(self.start)(*args, **kwargs)

    @retried
    def start_again(
        self, process: Process, *, by: Any = None, plan: Plan | None = None, noted: Mapping[str, Any] | None = None
    ) -> Process:
        """Start the work of a finished process again (see ``Process.retry()``).

        ``plan`` writes other steps of a workflow than all of them; ``noted`` is what of it is kept on record.
        """
        process._expire_if_overdue()
        rows = self.using(self._using)
        row = rows.get(pk=process.pk)
        if row.status not in TERMINAL:
            raise ProcessActive
        if row.parent_id is not None or not (row.task_name or row.workflow):
            raise RetryNotPossible
        if row.workflow and plan is None:
            plan = plan_again(row)
        fields = {name: getattr(row, name) for name in COPIED}
        fields |= {"total": row.initial_total, "retry_of_id": row.pk, "retry_slot": row.pk}
        try:
            with transaction.atomic(using=self._using):
                again = self._create(fields, plan)
                audit.record(row, "retried", by, new=str(again.key), **(noted or {}))
        except IntegrityError:
            # The slot is taken: the other click's process is the one, even if it has ended by now.
            other = rows.filter(retry_of=row.pk).order_by("-pk").first()
            if other is None:
                rows.only("pk").get(pk=row.pk)  # Or it was removed meanwhile.
                raise
            return other
        return _brought_up_to_date(again)

    @property
    def _using(self) -> str:
        return self._db or router.db_for_write(self.model)

    @retried
    def _create_once(self, fields: dict[str, Any], key: str, scope: str, plan: Plan | None) -> Process:
        values.text(key, "The idempotency key", required=True)
        work = "workflow" if plan else "task_name"
        asked = [fields.get(name) for name in (work, "task_args", "task_kwargs", "kind")]
        fields["idempotency_hash"] = hashed([scope, key])
        fields["idempotency_digest"] = hashed(asked)
        same = self.using(self._using).filter(idempotency_hash=fields["idempotency_hash"])
        while True:
            known = same.first()
            if known is not None:
                if known.idempotency_digest != fields["idempotency_digest"]:
                    raise IdempotencyConflict
                return known
            try:
                with transaction.atomic(using=self._using):
                    return self._create(fields, plan)
            except IntegrityError:
                if not same.exists():
                    raise

    def _create(self, fields: Mapping[str, Any], plan: Plan | None = None) -> Process:
        task_id = engines.get_engine().new_task_id() if fields.get("task_name") else ""
        return self._insert(fields, uuid4(), task_id, plan)

    @retried
    def _insert(self, fields: Mapping[str, Any], key: UUID, task_id: str, plan: Plan | None) -> Process:
        using = self._using
        now = clock.read(using)
        has_task = bool(fields.get("task_name"))
        process = self.model(
            **fields,
            key=key,
            status=Status.PENDING.value if has_task else Status.RUNNING.value,
            created_at=now,
            updated_at=now,
            started_at=None if has_task else now,
            last_seq=1,
            revision=1,
            milestone_name="started",
            milestone_message=STARTED_TEXT,
            milestone_params={},
        )
        if process.max_duration is not None:
            process.expires_at = now + timedelta(seconds=process.max_duration)
        if has_task:
            process.task_id = task_id
            queue = engines.get_engine().queue_for(process.task_name, dict(process.task_options))
            process.queue = values.fitting(queue, "The name of the queue")
            process.due_at = now + timedelta(seconds=settings.REPUBLISH_AFTER)
            process.publish_count = 1
        try:
            with transaction.atomic(using=using):
                process.save(using=using, force_insert=True)
                process.event_set.create(
                    seq=1, type="milestone", name="started", message=STARTED_TEXT, translatable=True, happened_at=now
                )
                if plan is not None:
                    plan(process)
                self._announce(process)
        except IntegrityError:
            # Once more after the connection was cut: it may have been just after the commit.
            known = None if connections[using].in_atomic_block else self.using(using).filter(key=key).first()
            if known is None:
                raise
            self._announce(known)
            return known
        return process

    def _announce(self, process: Process) -> None:
        nudges.changed(process._using, process.pk)
        process._on_commit(partial(signals.process_started.send_robust, self.model, process=process))
        if process.task_name:
            publish_on_commit(process)


def _brought_up_to_date(process: Process) -> Process:
    """Reload what may have been executed already, because Celery executes eagerly."""
    if (process.task_name or process.workflow) and engines.get_engine().is_eager():
        process.refresh_from_db(using=process._using)
    return process


def publish_on_commit(process: Process) -> None:
    """Tell a worker of a pending process once it is committed. Only a hint: the sweep sees the row too."""
    process._on_commit(partial(publish, process))


def publish(process: Process) -> bool:
    """Send the message that lets a worker claim ``process``; if it can't be sent, let the sweep try again soon."""
    failpoints.reach("publish.before")
    sent = engines.get_engine().publish(
        process.task_name, task_id=process.task_id, key=str(process.key), options=dict(process.task_options)
    )
    if not sent:
        rows = process.__class__._default_manager.using(process._using)
        soon = DatabaseNow(min(AGAIN_AFTER, settings.REPUBLISH_AFTER))
        with transaction.atomic(using=process._using):
            if process._is_free():  # Else it is due when it was: nobody waits for whoever holds it.
                waiting = rows.filter(pk=process.pk, status=Status.PENDING, task_id=process.task_id)
                waiting.update(due_at=soon, publish_count=process.publish_count)
    return sent


def _owner_pk(owner: Any, request: HttpRequest | None) -> Any:
    if owner is None:
        user = getattr(request, "user", None)
        return user.pk if user is not None and user.is_authenticated else None
    if getattr(owner, "is_anonymous", False):
        raise TypeError(
            "owner is an AnonymousUser, who can own nothing. Pass request=request instead: "
            "the user who is logged in, if there is one, becomes the owner."
        )
    if getattr(owner, "pk", None) is None:
        raise TypeError(f"owner must be a saved user or None, not {owner!r:.100}.")
    return owner.pk
