from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

__all__ = ["Action", "AuditEntry", "Via"]


class Action(models.TextChoices):
    """What was done."""

    CANCELLED = "cancelled", _("cancelled")
    EXPIRED = "expired", _("expired")
    RETRIED = "retried", _("tried again")
    REMOVED = "removed", _("removed")
    SHARED = "shared", _("shared")
    UNSHARED = "unshared", _("no longer shared")
    LINKED = "linked", _("link created")
    UNLINKED = "unlinked", _("links revoked")
    CLAIMED = "claimed", _("claimed after logging in")


class Via(models.TextChoices):
    """By which way."""

    CODE = "code", _("code")
    WEB = "web", _("web")
    ADMIN = "admin", _("admin")
    COMMAND = "command", _("command")
    API = "api", _("API")


class AuditEntry(models.Model):
    """What somebody did to a process. It outlives the process, and the account of who did it."""

    # No foreign key: the process may be removed, and this stays.
    process_key = models.UUIDField(_("process key"), db_index=True)
    process_title = models.CharField(_("process"), max_length=255, blank=True, default="")
    action = models.CharField(_("action"), max_length=16, choices=Action.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("by")
    )
    actor_name = models.CharField(_("name at the time"), max_length=255, blank=True, default="")
    via = models.CharField(_("way"), max_length=16, choices=Via.choices, default=Via.CODE)
    details = models.JSONField(_("details"), default=dict, blank=True)
    happened_at = models.DateTimeField(_("happened at"), db_index=True)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.process_title}"
