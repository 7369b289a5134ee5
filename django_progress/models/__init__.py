"""What is stored: processes, their gapless event log, the attempts at executing them, and who executes.

Besides, the steps of workflows, who else may see a process, and who did what to it.
"""

from .attempt import Attempt
from .audit import Action, AuditEntry, Via
from .event import Event
from .process import Process
from .share import Share, ShareLink
from .step import Step
from .worker import Worker

__all__ = ["Action", "Attempt", "AuditEntry", "Event", "Process", "Share", "ShareLink", "Step", "Via", "Worker"]
