from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..querysets import WorkerQuerySet

__all__ = ["Worker"]


class Worker(models.Model):
    """A worker, or a command that sweeps, as it was last seen.

    Only a hint, for what people are told while they wait and for ``progress_doctor``: no
    decision about a process reads it.
    """

    name = models.CharField(_("name"), max_length=255, unique=True)
    queues = models.JSONField(_("queues"), default=list, help_text=_("The queues it takes messages from."))
    clock_offset = models.FloatField(
        _("clock offset"), default=0, help_text=_("Seconds by which its clock is ahead of the database's.")
    )
    seen_at = models.DateTimeField(_("seen at"))
    swept_at = models.DateTimeField(_("swept at"), null=True, blank=True)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def listens_to(self, queue: str) -> bool:
        """Say whether it takes messages from ``queue``."""
        queues: list[Any] = self.queues
        return queue in queues
