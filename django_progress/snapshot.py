"""The frozen view of one process at one ``seq``, of which HTML, JSON and streams are all made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.urls import reverse

from . import errors
from .conf import settings
from .status import Status
from .steps import steps_of
from .waiting import Wait, wait_of

if TYPE_CHECKING:
    from .models import Event, Process

__all__ = ["ERROR_KEY", "Snapshot", "build", "newest_milestones", "take"]

MILESTONES = 200
"""How many milestones, of the newest, a snapshot holds."""
ERROR_KEY = "Error"
"""The message under which a failure also stands."""


@dataclass(frozen=True, slots=True)
class Milestone:
    """A milestone reached."""

    seq: int
    name: str
    type: str
    message: str
    happened_at: datetime
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One process at one moment, in the language that was active then. Times are aware, durations in seconds."""

    key: str
    kind: str
    title: str
    status: Status
    is_active: bool
    has_task: bool
    """Whether it can be tried again: a step of a workflow can't, by itself."""
    is_workflow: bool
    """Whether it is made of steps."""
    current: float
    total: float | None
    unit: str
    percent: float | None
    rate: float | None
    eta: float | None
    elapsed: float
    now: datetime
    messages: tuple[tuple[str, str], ...]
    milestones: tuple[Milestone, ...]
    milestone: str
    """What the last milestone says, or its name."""
    attempt: int
    max_attempts: int
    next_attempt_at: datetime | None
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    max_duration: float | None
    seq: int
    revision: int
    result: Any
    error: str
    reference: str
    truncated: bool
    """Whether log lines and numbers are no longer recorded."""
    url: str
    """Its status page."""
    wait_url: str
    finished_url: str
    """Where it leads now that it has ended; the status page while it has not."""
    retried_as: str = ""
    """The status page of the newest process that tries this one again."""
    wait: Wait | None = None
    """What it waits for while it is pending, where that was asked for."""
    quiet: float | None = None
    """Seconds since its task was last heard of; None while none executes."""
    is_silent: bool = False
    """Whether the worker that executes it has let its lease run out: it is lost, unless it comes back."""
    steps: tuple[dict[str, Any], ...] = ()
    """Those of a workflow, as the JSON status shows them."""

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return not self.is_active

    @property
    def has_counts(self) -> bool:
        """Whether any numbers were reported."""
        return self.total is not None or self.current > 0

    @property
    def may_cancel(self) -> bool:
        """Whether cancelling it would do anything."""
        return self.is_active and not self.cancel_requested

    @property
    def may_retry(self) -> bool:
        """Whether trying again makes sense."""
        return self.has_task and self.status in (Status.FAILED, Status.EXPIRED, Status.CANCELLED)

    @property
    def may_rerun(self) -> bool:
        """Whether its steps can run again."""
        return self.is_workflow and self.is_finished

    def as_json(self) -> dict[str, Any]:
        """Return the body of the JSON status."""
        messages = [{"key": key, "value": value} for key, value in self.messages]
        if self.error:
            messages.append({"key": ERROR_KEY, "value": self.error})
        return {
            "id": self.key,
            "kind": self.kind,
            "description": self.title,
            "status": self.status.value,
            "done": self.is_finished,
            "progress": {
                "current": _number(self.current),
                "total": _number(self.total),
                "percent": self.percent,
                "unit": self.unit,
                "rate": self.rate,
                "eta_seconds": None if self.eta is None else round(self.eta),
            },
            "messages": messages,
            "milestones": [
                {
                    "seq": milestone.seq,
                    "name": milestone.name,
                    "type": milestone.type,
                    "message": milestone.message,
                    "happened_at": milestone.happened_at.isoformat(),
                    "details": milestone.details,
                }
                for milestone in self.milestones
            ],
            "steps": list(self.steps),
            "attempt": {
                "number": self.attempt,
                "max": self.max_attempts,
                "next_at": _iso(self.next_attempt_at),
                "worker_silent": self.is_silent,
            },
            "waiting": self.wait and self.wait.as_json(),
            "quiet_seconds": None if self.quiet is None else int(self.quiet),
            "cancel_requested": self.cancel_requested,
            "created_at": _iso(self.created_at),
            "started_at": _iso(self.started_at),
            "updated_at": _iso(self.updated_at),
            "finished_at": _iso(self.finished_at),
            "expires_at": _iso(self.expires_at),
            "seq": self.seq,
            "result": self.result,
            "error": self._error,
            "url": reverse("django_progress:process-status", args=[self.key]),
            "links": {
                "status": reverse("django_progress:process-status", args=[self.key]),
                "result": reverse("django_progress:process-result", args=[self.key]),
                "events": reverse("django_progress:process-events", args=[self.key]),
                "stream": reverse("django_progress:process-stream", args=[self.key]),
                "page": self.url,
                "wait": self.wait_url,
                **({"cancel": reverse("django_progress:process-cancel", args=[self.key])} if self.may_cancel else {}),
                **({"retry": reverse("django_progress:process-retry", args=[self.key])} if self.may_retry else {}),
                **({"rerun": reverse("django_progress:process-rerun", args=[self.key])} if self.may_rerun else {}),
                **({"finished": self.finished_url} if self.is_finished else {}),
            },
        }

    def as_result(self) -> dict[str, Any]:
        """Return the body of the JSON result: what it leaves behind, or has left so far."""
        return {
            "id": self.key,
            "kind": self.kind,
            "description": self.title,
            "status": self.status.value,
            "done": self.is_finished,
            "result": self.result,
            "error": self._error,
            "finished_at": _iso(self.finished_at),
            "seq": self.seq,
            "url": reverse("django_progress:process-result", args=[self.key]),
            "links": {"status": reverse("django_progress:process-status", args=[self.key]), "page": self.url},
        }

    @property
    def _error(self) -> dict[str, str] | None:
        return {"message": self.error, "reference": self.reference} if self.error else None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _number(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def take(process: Process) -> Snapshot:
    """Read ``process`` again, with its milestones and what it waits for, and freeze it."""
    row = process.__class__._default_manager.using(process._using).with_now().get(pk=process.pk)
    return build(row, newest_milestones(row), wait_of(row), steps_of(row))


def newest_milestones(process: Process, most: int = MILESTONES) -> list[Event]:
    """Return the newest milestones, in order; whoever wants more asks for the events. One query."""
    newest = process.milestones.filter(seq__lte=process.last_seq).order_by("-seq")
    return list(reversed(newest[:most]))


def build(
    process: Process, milestones: Any = (), wait: Wait | None = None, steps: tuple[dict[str, Any], ...] = ()
) -> Snapshot:
    """Freeze a row (best read by ``with_now()``) and what was read beside it, as they are, without a query."""
    status = process.shown_status
    active = process.is_active
    quiet = process.quiet
    lease = process.__dict__.get("lease_until")
    return Snapshot(
        key=str(process.key),
        kind=process.kind,
        title=process.title,
        status=status,
        is_active=active,
        has_task=bool(process.workflow or (process.task_name and process.parent_id is None)),
        is_workflow=bool(process.workflow),
        current=process.current,
        total=process.total,
        unit=process.unit,
        percent=process.percent,
        rate=process.rate,
        eta=process.eta,
        elapsed=process.elapsed,
        now=process.now,
        messages=tuple(process.messages),
        milestones=tuple(_milestone(event) for event in milestones),
        milestone=str(process.reached),
        attempt=process.attempt_number,
        max_attempts=process.max_attempts,
        next_attempt_at=process.next_attempt_at if active else None,
        cancel_requested=active and bool(process.__dict__.get("cancel_requested")),
        created_at=process.created_at,
        started_at=process.started_at,
        updated_at=process.updated_at,
        finished_at=process.finished_at or (None if active else process.expires_at),
        expires_at=process.expires_at,
        max_duration=process.max_duration,
        seq=process.last_seq,
        revision=process.revision,
        result=process.result,
        error=errors.shown(process.error),
        reference=process.error_reference,
        truncated=process.last_seq >= settings.MAX_EVENTS,
        url=process.get_absolute_url(),
        wait_url=process.get_wait_url(),
        finished_url=process.get_absolute_url() if active else process.finished_url,
        retried_as=_address(process.__dict__.get("retried_key")),
        wait=wait,
        quiet=quiet,
        steps=steps,
        is_silent=quiet is not None and lease is not None and lease <= process.now,
    )


def _milestone(event: Event) -> Milestone:
    return Milestone(event.seq, event.name, event.type, event.text, event.happened_at, event.details or {})


def _address(key: Any) -> str:
    return reverse("django_progress:process-detail", args=[key]) if key else ""
