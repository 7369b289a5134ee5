from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..querysets import ShareLinkQuerySet

__all__ = ["Share", "ShareLink"]


class Share(models.Model):
    """Somebody with an account who may see a process that isn't theirs."""

    process = models.ForeignKey("django_progress.Process", models.CASCADE, related_name="share_set", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("shared with"))
    shared_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("shared by")
    )
    shared_at = models.DateTimeField(_("shared at"))

    class Meta:
        verbose_name = _("share")
        verbose_name_plural = _("shares")
        ordering = ["process_id", "pk"]
        constraints = [models.UniqueConstraint(fields=["process", "user"], name="dp_share_once")]

    def __str__(self) -> str:
        return f"{self.process_id}: {self.user_id}"


class ShareLink(models.Model):
    """A link by which whoever holds it may see one process. It can't be made again from this row."""

    process = models.ForeignKey("django_progress.Process", models.CASCADE, related_name="link_set")
    # SHA-256 of what the link carries.
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created at"))
    expires_at = models.DateTimeField(_("expires at"))
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    objects = ShareLinkQuerySet.as_manager()

    class Meta:
        verbose_name = _("link")
        verbose_name_plural = _("links")
        ordering = ["process_id", "pk"]

    def __str__(self) -> str:
        return f"{self.process_id}: {self.created_at:%Y-%m-%d}"
