"""What can go wrong, each with a message that says what to do about it.

A class without an argument speaks its own docstring.
"""

from __future__ import annotations

import inspect

__all__ = [
    "IdempotencyConflict",
    "NothingFailed",
    "ProcessActive",
    "ProcessCancelled",
    "ProcessExpired",
    "ProcessFinished",
    "ProcessStopped",
    "ProcessSuperseded",
    "ProgressError",
    "RetryNotPossible",
    "StepNotFound",
    "StepNotReady",
    "UnsafeURL",
]


class _Explained(BaseException):
    def __init__(self, message: str = "") -> None:
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


class ProgressError(_Explained, Exception):
    """Something is wrong with how a process is used."""


class ProcessFinished(ProgressError):
    """This process has finished and can't be changed any more; start another one, or use retry()."""


class ProcessActive(ProgressError):
    """This process is still active; cancel it, or wait until it has finished."""


class RetryNotPossible(ProgressError):
    """This process has no task of its own that could be run again; start a new one, or retry the whole workflow."""


class NothingFailed(RetryNotPossible):
    """Every step of this workflow has succeeded; say from which one it is to run again."""


class StepNotReady(RetryNotPossible):
    """This step can't run by itself, because one before it was skipped, or has no result that is still good."""


class StepNotFound(ProgressError, ValueError):
    """There is no such step in this workflow."""


class IdempotencyConflict(ProgressError):
    """This idempotency key was used before, for another task, other arguments or another kind."""


class UnsafeURL(ProgressError, ValueError):
    """This URL leads to another site; add its host to ALLOWED_REDIRECT_HOSTS if that is meant."""


class ProcessStopped(_Explained):
    """The execution of a task's body is being stopped.

    Deliberately not an ``Exception``: an ``except Exception`` in the body must not
    swallow it. Use ``finally`` to clean up.
    """


class ProcessCancelled(ProcessStopped):
    """Somebody asked for this process to be cancelled."""


class ProcessExpired(ProcessStopped):
    """The deadline of this process has passed."""


class ProcessSuperseded(ProcessStopped):
    """This execution no longer speaks for its process: another one took over, or it was ended from outside."""
