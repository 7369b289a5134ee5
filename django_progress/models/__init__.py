"""What is stored: processes, their gapless event log, and the attempts at executing them."""

from .attempt import Attempt
from .event import Event
from .process import Process

__all__ = ["Attempt", "Event", "Process"]
