from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from .. import values
from ..querysets import EventQuerySet

__all__ = ["Event"]


class Event(models.Model):
    """A change of a process that was committed, numbered 1, 2, 3 … without gaps. Never changed."""

    # Found by the constraint's index; each other one would make every report dearer.
    process = models.ForeignKey("django_progress.Process", models.CASCADE, related_name="event_set", db_index=False)
    seq = models.PositiveBigIntegerField(_("number"))
    type = models.CharField(_("type"), max_length=64)
    name = models.CharField(
        _("milestone"), max_length=64, blank=True, default="", help_text=_("Only a milestone has a name.")
    )
    message = models.TextField(_("message"), blank=True, default="")
    translatable = models.BooleanField(
        default=False, editable=False, help_text=_("The message is a msgid, formatted with the details.")
    )
    details = models.JSONField(_("details"), null=True, blank=True)
    happened_at = models.DateTimeField(_("happened at"))

    objects = EventQuerySet.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["process_id", "seq"]
        # Its index also answers "the events after a number".
        constraints = [models.UniqueConstraint(fields=["process", "seq"], name="dp_event_seq")]

    def __str__(self) -> str:
        return f"{self.seq} {self.name or self.type}"

    @property
    def text(self) -> str:
        """The message in the language that is active now."""
        return values.public_text(self.message, (self.details or {}) if self.translatable else None)

    def as_json(self, key: object) -> dict[str, Any]:
        """Return the event as API and stream show it; ``key`` is its process's."""
        return {
            "id": f"{key}:{self.seq}",
            "seq": self.seq,
            "type": self.type,
            "name": self.name,
            "message": self.text,
            "happened_at": self.happened_at.isoformat(),
            "details": self.details or {},
        }
