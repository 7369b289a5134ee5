"""What a project writes: a workflow and its steps, checked as they are defined."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from .. import values
from ..models import Process
from ..options import MESSAGE_OPTIONS, OPTIONS
from ..starter import Plan, Starter, check_declared
from . import freezing, registry
from .arguments import check_arguments
from .graph import Graph

if TYPE_CHECKING:
    from django.utils.functional import Promise

__all__ = ["ON_FAILURE", "StepDefinition", "StepMaker", "Workflow"]

ON_FAILURE = ("fail", "continue")
NOT_A_WORKFLOWS = {"total", "unit"}

Decorator = Callable[[Callable[..., Any]], "StepDefinition"]


class StepMaker:
    """What steps can be added to: a workflow, or another step."""

    graph: Graph
    path: str

    @overload
    def step(self, function: Callable[..., Any], /) -> StepDefinition: ...
    @overload
    def step(
        self,
        /,
        *,
        name: str | None = None,
        description: str | Promise = "",
        weight: float = 1,
        each: Callable[..., Iterable[Any]] | None = None,
        when: Callable[..., Any] | None = None,
        after: Iterable[str] | None = None,
        on_complete: Callable[[Any], object] | None = None,
        debug: Callable[..., object] | None = None,
        max_attempts: int | None = None,
        retry_delay: Any = None,
        timeout: Any = None,
        queue: str | None = None,
        on_failure: str = "fail",
    ) -> Decorator: ...

    def step(self, function: Callable[..., Any] | None = None, /, **options: Any) -> StepDefinition | Decorator:
        """Make a function a step; it gets the step's process first, then what it names.

        A step of a workflow begins when the one that was defined before it is complete, or
        those that ``after`` names are; a step of a step, when that one has succeeded. It is
        complete when it has ended and all its own steps are.

        - ``when(results)`` decides, once, whether it is executed; else it is skipped.
        - ``each(results)`` returns a list; the function is executed for each item, in parallel.
        - ``weight`` is its share of the bar, beside the others'.
        - ``on_complete(result)`` and ``debug(results)`` return a line for its log: after it, and before.
        - ``max_attempts``, ``retry_delay``, ``timeout`` (of one attempt) and ``queue`` are as a task's.
        - ``on_failure="continue"`` goes on without it if it fails.

        Raises ``TypeError`` and ``ValueError`` for what can't be.
        """
        if function is not None and not callable(function):
            raise TypeError("step() takes keyword arguments only: @workflow.step(description=…).")

        def add(function: Callable[..., Any]) -> StepDefinition:
            return StepDefinition(function, graph=self.graph, parent=self.path, **options)

        return add if function is None else add(function)


class StepDefinition(StepMaker):
    """A function that is a step of a workflow. Calling it calls the function."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        graph: Graph,
        parent: str,
        name: str | None = None,
        description: str | Promise = "",
        weight: float = 1,
        each: Callable[..., Iterable[Any]] | None = None,
        when: Callable[..., Any] | None = None,
        after: Iterable[str] | None = None,
        on_complete: Callable[[Any], object] | None = None,
        debug: Callable[..., object] | None = None,
        max_attempts: int | None = None,
        retry_delay: Any = None,
        timeout: Any = None,
        queue: str | None = None,
        on_failure: str = "fail",
    ) -> None:
        if not callable(function):
            raise TypeError(f"A step must be a function, not {function!r:.80}.")
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__name__}() is asynchronous, which Celery can't execute; "
                "write a plain function that calls asgiref's async_to_sync()."
            )
        functools.update_wrapper(self, function)
        self.function = function
        self.signature = inspect.signature(function)
        self.graph = graph
        self.name: str = name if name is not None else getattr(function, "__name__", "")
        self.description, self.description_params = values.translatable(description, "description")
        self.weight = values.number(weight, "weight")
        self.each, self.when, self.on_complete, self.debug = each, when, on_complete, debug
        for option in ("each", "when", "on_complete", "debug"):
            if getattr(self, option) is not None and not callable(getattr(self, option)):
                raise TypeError(f"{option} must be a function, not {getattr(self, option)!r:.80}.")
        self.settings = _checked(max_attempts=max_attempts, retry_delay=retry_delay, timeout=timeout, queue=queue)
        if on_failure not in ON_FAILURE:
            raise ValueError(f'on_failure must be "fail" or "continue", not {on_failure!r:.80}.')
        self.on_failure = on_failure
        self.path = graph.add(self, parent, _names(after))

    def __repr__(self) -> str:
        return f"<step {self.path}>"

    @property
    def title(self) -> str:
        """The description in the language that is active now; the name where there is none."""
        return values.public_text(self.description, self.description_params) or self.name

    def __call__(self, step: Process, *args: Any, **kwargs: Any) -> Any:
        """Call the body."""
        return self.function(step, *args, **kwargs)


class Workflow(StepMaker, Starter):
    """A process made of steps.

    ``kind`` is the kind of its processes, and the name by which workers find it: define it
    where they load it, such as in ``tasks.py``. Its options are those of ``progress_task``,
    and ``queue``; ``max_attempts``, ``retry_delay`` and ``attempt_timeout`` are what its
    steps begin with that don't say otherwise.
    """

    def __init__(self, kind: str, **options: Any) -> None:
        self._set_up(kind, options)
        registry.add(self)

    def _set_up(self, kind: str, options: Mapping[str, Any], builder: Callable[..., Any] | None = None) -> None:
        if not values.kind(kind):
            raise ValueError("A workflow must have a kind, such as 'import-airports': workers find it by that name.")
        for name in options:
            if name in NOT_A_WORKFLOWS:
                raise TypeError(f"A workflow doesn't take {name}=: its progress is that of its steps.")
            if name not in OPTIONS and name not in MESSAGE_OPTIONS:
                raise TypeError(
                    f"A workflow doesn't know {name}=; it takes {', '.join(sorted({*OPTIONS, *MESSAGE_OPTIONS}))}."
                )
        self.name, self.graph, self.path, self.builder = kind, Graph(), "#", builder
        self.declared = {"kind": kind} | {name: value for name, value in options.items() if name in OPTIONS}
        self.options = {name: value for name, value in options.items() if name in MESSAGE_OPTIONS}
        self.started_with = {}
        check_declared(self.declared)

    @classmethod
    def built_by(cls, kind: str, **options: Any) -> Callable[[Callable[..., Any]], Workflow]:
        """Make a function a workflow whose steps depend on what it is started with.

        The function gets an empty plan, to add steps to, and the start's arguments. It is
        called at the start, whose rows say what is to be done and in which order, and again
        by each worker, which takes from it only the functions, by the names of their steps:
        for the same arguments it must name the same ones.
        """

        def decorate(builder: Callable[..., Any]) -> Workflow:
            if not callable(builder):
                raise TypeError(f"A workflow must be built by a function, not {builder!r:.80}.")
            workflow = cls.__new__(cls)
            workflow._set_up(kind, options, builder)
            workflow.__doc__ = builder.__doc__
            registry.add(workflow)
            return workflow

        return decorate

    def __repr__(self) -> str:
        return f"<Workflow {self.name}>"

    def step(self, function: Any = None, /, **options: Any) -> Any:
        if self.builder is not None:
            raise TypeError(f"The steps of {self.name} are added to the plan that its function is given.")
        return super().step(function, **options)

    step.__doc__ = StepMaker.step.__doc__

    def start(self, for_whom: Any = None, /, *args: Any, **kwargs: Any) -> Process:
        """Start a process, and return it.

        ``for_whom`` is the request (the user who is logged in becomes the owner), a user,
        or None. The arguments are given by name, and each step gets those that it names.
        Raises what ``Process.objects.start()`` does, and ``TypeError`` for arguments that
        no step takes, or that one misses.
        """
        if args:
            raise TypeError(f"The arguments of {self.name} are given by name, since each step takes its own of them.")
        return Process.objects.start(
            workflow=self, kwargs=kwargs, options=self.options, **self._whose(for_whom), **self.started_with
        )

    def plan(self, kwargs: Mapping[str, Any]) -> Plan:
        """Return what writes the steps for a process that is started with ``kwargs``."""
        return partial(freezing.freeze, self.checked(kwargs))

    def checked(self, kwargs: Mapping[str, Any]) -> Graph:
        """Return the graph of its steps for these arguments. Raises ``TypeError`` and ``ValueError`` if it has none."""
        graph = self.built(kwargs)
        if not graph.nodes:
            raise ValueError(f"The workflow {self.name} has no steps; add one by @workflow.step().")
        graph.check()
        check_arguments(self, graph, kwargs)
        return graph

    def built(self, kwargs: Mapping[str, Any]) -> Graph:
        """Return the graph of its steps for these arguments."""
        if self.builder is None:
            return self.graph
        plan = StepMaker()
        plan.graph, plan.path = Graph(), "#"
        try:
            inspect.signature(self.builder).bind(plan, **kwargs)
        except TypeError as error:
            raise TypeError(f"The workflow {self.name} can't be started so: {error}.") from None
        self.builder(plan, **kwargs)
        return plan.graph


def _names(after: Iterable[str] | None) -> list[str] | None:
    if after is None:
        return None
    if isinstance(after, (str, StepDefinition)):
        raise TypeError(f"after must be a list of names of steps, such as [{getattr(after, 'name', after)!r}].")
    return [getattr(name, "name", name) for name in after]


def _checked(*, max_attempts: Any, retry_delay: Any, timeout: Any, queue: Any) -> dict[str, Any]:
    """Return what a step says for itself of what is frozen into its row."""
    settings: dict[str, Any] = {}
    if max_attempts is not None:
        settings["max_attempts"] = values.count(max_attempts, "max_attempts", least=1)
    if retry_delay is not None:
        settings["retry_delay"] = values.duration(retry_delay, "retry_delay")
    if timeout is not None:
        settings["attempt_timeout"] = values.positive_duration(timeout, "timeout")
    if queue is not None:
        settings["queue"] = values.fitting(values.text(queue, "queue", required=True), "queue")
    return settings
