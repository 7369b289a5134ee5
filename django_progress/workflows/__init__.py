"""Workflows: one process made of several steps, each executed by a process of its own.

``definition.py`` is what a project writes, ``graph.py`` checks it, ``freezing.py`` turns it
into rows when one starts, ``performing.py`` is what a worker does for a step, and
``advancing.py`` what follows from its end. ``again.py`` runs parts of one that has ended
again: ``reuse.py`` decides which, ``copying.py`` writes the rows.
"""

from .advancing import Workflows
from .again import Preview, PreviewRow, preview, rerun_from, retry_failed, run_again, run_step
from .definition import StepDefinition, Workflow
from .results import Results
from .reuse import Way

__all__ = [
    "Preview", "PreviewRow", "Results", "StepDefinition", "Way", "Workflow", "Workflows", "preview", "rerun_from",
    "retry_failed", "run_again", "run_step",
]  # fmt: skip
