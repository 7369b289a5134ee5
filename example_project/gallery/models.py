"""What the examples store: imported airports, and an endpoint that isn't ready yet."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

__all__ = ["Airport", "Endpoint", "RefusedRow", "Upload"]


class UploadManager(models.Manager["Upload"]):
    """Keeps few."""

    KEPT = 5

    def keep(self, owner: Any, name: str, content: str) -> Upload:
        """Store an upload, and forget the oldest of its owner."""
        upload = self.create(owner=owner, name=name, content=content)
        kept = self.filter(owner=owner).order_by("-pk").values_list("pk", flat=True)[: self.KEPT]
        self.filter(owner=owner).exclude(pk__in=list(kept)).delete()
        return upload


class Upload(models.Model):
    """A CSV to import; without content it is the airportsdata package's own, of all airports."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="airport_uploads")
    name = models.CharField(_("name"), max_length=200)
    content = models.TextField(_("content"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = UploadManager()

    def __str__(self) -> str:
        return self.name

    def forget_rows(self) -> None:
        """Delete what was imported from it, and what was refused."""
        self.airports.all().delete()
        self.refused_rows.all().delete()


class Airport(models.Model):
    """An airport that was imported."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="airports")
    icao = models.CharField(_("ICAO code"), max_length=4)
    iata = models.CharField(_("IATA code"), max_length=3, blank=True)
    name = models.CharField(_("name"), max_length=100)
    city = models.CharField(_("city"), max_length=100, blank=True)
    country = models.CharField(_("country"), max_length=2)
    elevation = models.FloatField(_("elevation"), null=True, help_text=_("In feet."))
    latitude = models.FloatField(_("latitude"))
    longitude = models.FloatField(_("longitude"))
    hub = models.CharField(_("nearest hub"), max_length=3)

    class Meta:
        constraints = [
            # What makes importing the same file twice harmless.
            models.UniqueConstraint(fields=["upload", "icao"], name="gallery_airport_icao"),
            models.CheckConstraint(
                condition=models.Q(latitude__range=(-90, 90), longitude__range=(-180, 180)),
                name="gallery_airport_on_earth",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RefusedRow(models.Model):
    """A row that could not be imported, and why."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="refused_rows")
    line = models.PositiveIntegerField(_("line"))
    reasons = models.TextField(_("reasons"))
    values = models.JSONField(_("values"))

    class Meta:
        ordering = ["line"]

    def __str__(self) -> str:
        return f"{self.line}: {self.reasons}"


class Endpoint(models.Model):
    """An HTTP endpoint of this site that answers 503 until it was called ``ready_after`` times."""

    key = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    ready_after = models.PositiveIntegerField()
    calls = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.key)

    @property
    def url(self) -> str:
        """Its address, for a worker, which has no request to tell the site's."""
        return getattr(settings, "SITE_URL", "") + reverse("gallery:endpoint", args=[self.key])
