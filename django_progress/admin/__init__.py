"""Processes in Django's admin: everything is shown, nothing is edited, the verbs are actions."""

from .parts import AttemptAdmin, EventAdmin
from .process import ProcessAdmin

__all__ = ["AttemptAdmin", "EventAdmin", "ProcessAdmin"]
