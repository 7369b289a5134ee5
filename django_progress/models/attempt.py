from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..querysets import AttemptQuerySet
from ..status import Outcome

__all__ = ["Attempt"]


class Attempt(models.Model):
    """One execution of a task's body.

    The lease and a request to cancel live here and not on the process, so that renewing
    the one and asking for the other never wait for a report that holds the process's row.
    """

    process = models.ForeignKey("django_progress.Process", models.CASCADE, related_name="attempt_set", db_index=False)
    number = models.PositiveIntegerField(_("execution"), help_text=_("Counts every execution of the process, from 1."))
    attempt_number = models.PositiveIntegerField(
        _("attempt"), help_text=_("Counts against the attempts allowed; begins anew when the task hands on.")
    )
    milestone_seq = models.PositiveBigIntegerField(
        default=1, editable=False, help_text=_("The event of the milestone at which it began.")
    )
    token = models.CharField(max_length=32, unique=True, editable=False)
    task_id = models.CharField(_("Celery task id"), max_length=255, blank=True)
    worker = models.CharField(_("worker"), max_length=255, blank=True)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    doubted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text=_("When a sweep first found the lease run out.")
    )
    timeout_at = models.DateTimeField(_("times out at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, blank=True, default="", choices=Outcome.choices)
    error = models.TextField(_("error"), blank=True, default="")
    error_reference = models.CharField(_("reference"), max_length=16, blank=True, default="")
    error_detail = models.TextField(_("error detail"), blank=True, default="")
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True, blank=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = AttemptQuerySet.as_manager()

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["process_id", "number"]
        constraints = [
            models.UniqueConstraint(fields=["process", "number"], name="dp_attempt_number"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="dp_attempt_outcome"),
            models.CheckConstraint(
                condition=Q(outcome="", finished_at__isnull=True) | (~Q(outcome="") & Q(finished_at__isnull=False)),
                name="dp_attempt_finished",
            ),
        ]
        # Not on lease_until: an index on what every beat writes would take PostgreSQL's
        # cheap (HOT) updates away. Few attempts execute at once.
        indexes = [models.Index(fields=["outcome", "process"], name="dp_attempt_executing")]

    def __str__(self) -> str:
        return f"{self.process_id}/{self.number}"

    @property
    def seconds(self) -> float | None:
        """How long it took, in seconds; None while it executes."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None
