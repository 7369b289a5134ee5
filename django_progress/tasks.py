"""Celery as the engine: ``progress_task`` makes a function the work of processes."""

from __future__ import annotations

import difflib
import functools
import inspect
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn, TypeVar, overload

from celery import Task, shared_task
from celery.exceptions import Ignore
from django.db import InterfaceError, OperationalError, connections

from . import claiming, dispatch, execution, failpoints, leases, presence
from .exceptions import ProcessStopped
from .models import Process
from .options import MESSAGE_OPTIONS, OPTIONS
from .publishing import CeleryEngine
from .starter import Starter, check_declared
from .sweep import sweep
from .workflows.performing import STEP_TASK, perform

__all__ = ["CeleryEngine", "ProgressTask", "current_process", "progress_task", "step_task", "sweep_task"]

R = TypeVar("R")

REFUSED = {
    "bind": "the body gets the process as its first argument, and current_process() finds it anywhere",
    "autoretry_for": "use max_attempts= and retry_delay=",
    "retry_backoff": "use max_attempts= and retry_delay=",
    "retry_kwargs": "use max_attempts= and retry_delay=",
    "max_retries": "use max_attempts=, which counts the first attempt too",
    "default_retry_delay": "use retry_delay=",
    "expires": "use max_duration=; a worker that finds a message too old takes no other of the same execution",
    "serializer": "messages are JSON; give arguments that are, or the id of what they stand for",
    "pydantic": "check the arguments in the body",
}
LONGEST_PAUSE = 5.0
"""Seconds between two tries to write how an execution ended, at most."""


def current_process() -> Process | None:
    """Return the process whose task's body executes here, or None."""
    executing = execution.current.get()
    return executing.process if executing is not None else None


class ProgressTask(Starter):
    """A function that processes execute, with what each of them begins with.

    Calling it calls the function, with the process that you pass; nothing is started.
    """

    def __init__(
        self, function: Callable[..., Any], declared: Mapping[str, Any], celery_options: Mapping[str, Any]
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.declared = dict(declared)
        # Celery calls these attributes of a task deprecated; as options of its messages they are not.
        self.options = {name: value for name, value in celery_options.items() if name in MESSAGE_OPTIONS}
        self.started_with = {}
        self.signature = inspect.signature(function)
        self.celery_task = self._registered(
            {name: value for name, value in celery_options.items() if name not in MESSAGE_OPTIONS}
        )

    def __repr__(self) -> str:
        return f"<ProgressTask {self.function.__module__}.{self.function.__qualname__}>"

    def __call__(self, process: Process, *args: Any, **kwargs: Any) -> Any:
        """Call the body."""
        return self.function(process, *args, **kwargs)

    @property
    def name(self) -> str:
        """The name under which Celery knows it."""
        return str(self.celery_task.name)

    def start(self, for_whom: Any = None, /, *args: Any, **kwargs: Any) -> Process:
        """Start a process that calls the function with ``args`` and ``kwargs``, and return it.

        ``for_whom`` is the request (the user who is logged in becomes the owner), a user,
        or None. Raises what ``Process.objects.start()`` does, and ``TypeError`` for
        arguments that the function doesn't take.
        """
        return Process.objects.start(
            task=self, args=args, kwargs=kwargs, options=self.options, **self._whose(for_whom), **self.started_with
        )

    def delay(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a process needs its row. See :meth:`start`."""
        raise TypeError(
            f"{self.function.__name__} reports to a process, so it is started by "
            f"{self.function.__name__}.start(for_whom, …): a request, a user or None, and then its arguments. "
            "To call just the function in your own code: "
            f"{self.function.__name__}(process, …)."
        )

    apply_async = s = si = delay

    def check_arguments(self, args: Any, kwargs: Any) -> None:
        """Raise ``TypeError`` for arguments that the function doesn't take."""
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
            raise TypeError(f"args must be a list or a tuple and kwargs a dict, not {args!r:.40} and {kwargs!r:.40}.")
        try:
            self.signature.bind(None, *args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{self.function.__name__}{self.signature} can't be called so: {error}. "
                "Its first argument is the process, which start() brings."
            ) from None

    def _registered(self, options: dict[str, Any]) -> Any:
        @functools.wraps(self.function)
        def run(celery_task: Any, key: str) -> Any:
            return self._execute(celery_task.request, key)

        # Celery looks at the signature of what it registers; ours is not the function's.
        del run.__wrapped__
        return shared_task(bind=True, progress_signature=self.signature, **options)(run)

    def _execute(self, request: Any, key: str) -> dict[str, str]:
        """Execute the body for one message."""
        eager = bool(request.is_eager)
        executing = claiming.claim(key, task_id=request.id, worker=request.hostname or "", delayed=not eager)
        if executing is None:
            # Not success: that would overwrite the result of the execution that has the process.
            raise Ignore
        process: Process = executing.process
        before = execution.current.set(executing)
        try:
            with leases.held(executing, process._using):
                try:
                    failpoints.reach("claim.done")
                    value = self.function(process, *process.task_args, **process.task_kwargs)
                    failpoints.reach("body.returned")
                    mistake = _settled(executing, lambda: dispatch.returned(executing, value))
                except ProcessStopped as stop:
                    _settled(executing, partial(dispatch.stopped, executing, stop))
                    raise Ignore from None
                except BaseException as error:
                    _settled(executing, partial(dispatch.raised, executing, error))
                    raise
                if mistake is not None:
                    raise mistake
        finally:
            execution.current.reset(before)
            failpoints.reach("end.committed")
            process.__dict__.pop("_bound", None)
        return {"process": str(process.key), "status": process.status}


def _settled(executing: execution.Execution, settle: Callable[[], R]) -> R:
    """Settle an execution; again, on a new connection, while the database is away and the lease may still hold."""
    connection = connections[executing.process._using]
    end, pause = time.monotonic() + executing.lease, 0.05
    while True:
        try:
            return settle()
        except (InterfaceError, OperationalError):
            if connection.in_atomic_block or time.monotonic() + pause > end:
                raise
            connection.close()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


@shared_task(name="django_progress.sweep", ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_task() -> None:
    """Sweep once, for Celery beat: where no worker is to do it by itself (``SWEEP_INTERVAL`` 0)."""
    sweep()
    presence.note(f"django_progress.sweep@{platform.node()}", swept=True)


@overload
def progress_task(function: Callable[..., Any], /) -> ProgressTask: ...
@overload
def progress_task(**options: Any) -> Callable[[Callable[..., Any]], ProgressTask]: ...


def progress_task(
    function: Callable[..., Any] | None = None, /, **options: Any
) -> ProgressTask | Callable[[Callable[..., Any]], ProgressTask]:
    """Make a function the work of processes; it gets the process as its first argument.

    Its own options say what each process begins with, as in ``Process.objects.start()``:
    ``description``, ``kind``, ``max_duration``, ``max_attempts`` (1: at most once),
    ``retry_delay``, ``attempt_timeout``, ``lease``, ``total``, ``unit`` and the URLs. All
    others are Celery's (``name``, ``queue``, ``rate_limit``, ``time_limit`` …). Raises
    ``TypeError`` for those of Celery's that would take away what the process guarantees.
    """
    for name, way_out in REFUSED.items():
        if name in options:
            raise TypeError(f"progress_task doesn't take {name}=: {way_out}.")
    declared = {name: options.pop(name) for name in list(options) if name in OPTIONS}
    check_declared(declared)
    for name in options:
        if not hasattr(Task, name) and (near := difflib.get_close_matches(name, OPTIONS, 1, 0.8)):
            raise TypeError(f"progress_task doesn't know {name}=; did you mean {near[0]}=?")
    if function is not None and not callable(function):
        raise TypeError("progress_task takes keyword arguments only: @progress_task(description=…).")

    def decorate(function: Callable[..., Any]) -> ProgressTask:
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(f"{function.__name__}() must take the process as its first argument.")
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__name__}() is asynchronous, which Celery can't execute; "
                "write a plain function that calls asgiref's async_to_sync()."
            )
        return ProgressTask(function, declared, options)

    return decorate if function is None else decorate(function)


step_task = progress_task(name=STEP_TASK)(perform)
"""Executes the steps of all workflows."""
