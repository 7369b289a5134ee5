"""The same nothing, as the step of a workflow and as a task of Celery's."""

from __future__ import annotations

from celery import shared_task

from django_progress.models import Process
from django_progress.workflows import Workflow

together = Workflow("benchmark-together", description="Many things beside each other")


@together.step
def plan(step: Process, parts: int) -> int:
    """Say how many there are to be."""
    return parts


@together.step(each=lambda results: list(range(results["plan"])))
def part(step: Process, number: int) -> int:
    """Do nothing, as one of many."""
    return number


@shared_task
def nothing(number: int) -> int:
    """Do nothing, without a workflow."""
    return number
