"""Bare signals; who sends them doesn't know who listens. All but the last two are sent after the commit.

``process_started``      ``(sender=Process, process)``
``milestone_reached``    ``(sender=Process, process, name, seq)``
``process_finished``     ``(sender=Process, process)``
``process_waiting``      ``(sender=Process, process, request)``: a wait page was shown
``process_redirected``   ``(sender=Process, process, request, url)``: a wait page led on
"""

from django.dispatch import Signal

process_started = Signal()
milestone_reached = Signal()
process_finished = Signal()
process_waiting = Signal()
process_redirected = Signal()
