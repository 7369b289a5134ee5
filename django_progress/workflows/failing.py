"""How people are told of steps that failed."""

from __future__ import annotations

from django.utils.translation import gettext, gettext_noop

from ..endings import failure_changes, failure_event
from ..errors import Failure
from ..models import Process, Step
from ..status import Outcome, Status, sources
from ..writes import Guard

__all__ = ["FAILED_KEY", "list_failed", "tell"]

FAILED_KEY = "Failed"
"""The message under which a workflow that goes on lists the steps that failed."""
LISTED = 10


CANCELLED = gettext_noop("The step %(step)s was cancelled.")
EXPIRED = gettext_noop("The step %(step)s has expired.")


def tell(workflow: Process, step: Step, process: Process) -> None:
    """Let the workflow fail, for the reason that its step has; one that was ended by somebody has none of its own."""
    failure = Failure(process.error, process.error_reference, process.error_detail)
    event = failure_event(Status.FAILED, failure, step=step.path)
    if not failure.public:
        text = CANCELLED if process.status == Status.CANCELLED else EXPIRED
        failure = failure._replace(public=gettext(text) % {"step": step.path})
        event = event._replace(message=text, translatable=True)
    guard = Guard(sources(Status.FAILED), in_time=False)
    workflow._finish(guard, Status.FAILED, failure_changes(failure), event, Outcome.SUPERSEDED)


def list_failed(workflow: Process) -> list[list[str]]:
    """Return the messages of the workflow with the paths of the steps that failed among them."""
    failed = Step.objects.using(workflow._using).filter(process=workflow.pk).failed().order_by("position", "index")
    paths = list(failed.values_list("path", flat=True)[:LISTED])
    more = failed.count() - len(paths)
    shown = ", ".join(paths) + (gettext(" and %(count)d more") % {"count": more} if more else "")
    pairs = [list(pair) for pair in workflow.message_pairs if pair[0] != FAILED_KEY]
    return [*pairs, [FAILED_KEY, shown]]
