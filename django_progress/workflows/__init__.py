"""Workflows: one process made of several steps, each executed by a process of its own.

``definition.py`` is what a project writes, ``graph.py`` checks it, ``freezing.py`` turns it
into rows when one starts, ``performing.py`` is what a worker does for a step, and
``advancing.py`` what follows from its end.
"""

from .advancing import Workflows
from .definition import StepDefinition, Workflow
from .results import Results

__all__ = ["Results", "StepDefinition", "Workflow", "Workflows"]
