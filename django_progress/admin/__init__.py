"""Processes in Django's admin: everything is shown, nothing is edited, the verbs are actions."""

from .parts import AttemptAdmin, EventAdmin
from .process import ProcessAdmin
from .steps import StepAdmin
from .trail import AuditEntryAdmin

__all__ = ["AttemptAdmin", "AuditEntryAdmin", "EventAdmin", "ProcessAdmin", "StepAdmin"]
