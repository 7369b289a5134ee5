from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from .. import values
from ..querysets import StepQuerySet
from ..status import StepStatus

__all__ = ["Step"]


class Step(models.Model):
    """One node of a workflow: what was planned when it started, and what has become of it.

    It is executed by a process of its own, whose attempts, lease and events are the step's.
    Only changed by whoever holds the lock of the workflow's process (``condition`` aside).
    """

    process = models.ForeignKey("django_progress.Process", models.CASCADE, related_name="steps", db_index=False)
    execution = models.OneToOneField(
        "django_progress.Process",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="step",
        verbose_name=_("execution"),
    )
    path = models.CharField(_("path"), max_length=255)
    name = models.CharField(_("name"), max_length=64)
    index = models.PositiveIntegerField(_("part"), null=True, blank=True, help_text=_("Only a sub-step has one."))
    position = models.PositiveIntegerField(default=0, editable=False)
    parent_path = models.CharField(max_length=255, default="#", editable=False)
    description = models.TextField(_("description"), blank=True, default="")
    description_params = models.JSONField(null=True, blank=True, editable=False)
    options = models.JSONField(default=dict, blank=True, editable=False)
    status = models.CharField(_("status"), max_length=16, choices=StepStatus.choices, default=StepStatus.INACTIVE)
    condition = models.BooleanField(
        null=True, blank=True, editable=False, help_text=_("What its condition was found to be, once it was asked.")
    )

    # How far it is. The weights of a workflow add up to 100, those of sub-steps to the weight of their step.
    weight = models.FloatField(default=0, editable=False)
    fraction = models.FloatField(default=0, editable=False)

    # What it waits for. All is counted down under the lock, so that the last one knows that it is the last.
    waits_for = models.JSONField(default=list, blank=True, editable=False)
    feeds = models.JSONField(default=list, blank=True, editable=False)
    blockers = models.PositiveIntegerField(default=0, editable=False)
    children_left = models.PositiveIntegerField(default=0, editable=False)
    parts = models.PositiveIntegerField(default=0, editable=False)
    parts_left = models.PositiveIntegerField(default=0, editable=False)
    parts_failed = models.PositiveIntegerField(default=0, editable=False)

    # Whether its result was taken over; and the row of the run that was the first to execute it, while that is kept.
    is_reused = models.BooleanField(_("reused"), default=False)
    source = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, editable=False, related_name="copies")

    result = models.JSONField(_("result"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    queued_at = models.DateTimeField(_("queued at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    objects = StepQuerySet.as_manager()

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        # A step stands before its sub-steps, also where NULLs come last by themselves.
        ordering = ["process_id", "position", F("index").asc(nulls_first=True)]
        constraints = [
            models.UniqueConstraint(fields=["process", "path"], name="dp_step_path"),
            models.CheckConstraint(condition=Q(status__in=StepStatus.values), name="dp_step_status"),
        ]
        indexes = [
            models.Index(fields=["process", "status"], name="dp_step_active"),
            models.Index(fields=["process", "parent_path"], name="dp_step_under"),
            # Those that were planned stand together, so that nobody looks at thousands of parts to find a few steps.
            models.Index(fields=["process", "index", "position"], name="dp_step_planned"),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def title(self) -> str:
        """The description in the language that is active now; the name where there is none."""
        return values.public_text(self.description, self.description_params) or self.name

    @property
    def is_part(self) -> bool:
        """Whether it is one of the sub-steps of a step that runs in parallel."""
        return self.index is not None
