from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .. import conf, values
from ..lifecycle import Lifecycle
from ..querysets import ProcessQuerySet
from ..reading import Reading
from ..responses import Responses
from ..starting import ProcessManager
from ..status import ACTIVE, TERMINAL, Status

__all__ = ["Process"]


class Process(Lifecycle, Reading, Responses, models.Model):
    """One long-running operation. Change it through its verbs only: they keep the promises.

    ``pk`` is for joins; ``key`` is the only identifier that people and programs see.
    """

    key = models.UUIDField(_("key"), unique=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        verbose_name=_("owner"),
        related_name="progress_processes",
        db_index=False,  # dp_process_mine
    )
    # Whose it is who has no account (see visitors.py).
    visitor = models.CharField(max_length=64, blank=True, default="", editable=False)
    kind = models.CharField(_("kind"), max_length=100, blank=True, default="")
    description = models.TextField(_("description"), blank=True, default="")
    description_params = models.JSONField(null=True, blank=True, editable=False)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.PENDING)

    # How far it is.
    percent_peak = models.FloatField(default=0, editable=False)
    current = models.FloatField(_("done so far"), default=0)
    total = models.FloatField(_("of"), null=True, blank=True)
    initial_total = models.FloatField(null=True, blank=True, editable=False)
    rate = models.FloatField(_("rate"), null=True, blank=True, editable=False)
    samples = models.PositiveIntegerField(default=0, editable=False)
    unit = models.CharField(_("unit"), max_length=32, blank=True, default="")
    last_seq = models.PositiveBigIntegerField(_("last event"), default=0, editable=False)
    revision = models.PositiveBigIntegerField(_("revision"), default=0, editable=False)
    milestone_name = models.CharField(_("milestone"), max_length=64, blank=True, default="")
    milestone_message = models.TextField(blank=True, default="")
    milestone_params = models.JSONField(null=True, blank=True, editable=False)
    message_pairs = models.JSONField(_("messages"), default=list, blank=True)
    context = models.JSONField(_("context"), default=dict, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    error_reference = models.CharField(_("reference"), max_length=16, blank=True, default="")
    error_detail = models.TextField(_("error detail"), blank=True, default="")

    # Where it leads.
    redirect_url = models.TextField(blank=True, default="")
    success_url = models.TextField(blank=True, default="")
    failure_url = models.TextField(blank=True, default="")
    expired_url = models.TextField(blank=True, default="")
    cancelled_url = models.TextField(blank=True, default="")

    # What executes it.
    task_name = models.CharField(_("task"), max_length=255, blank=True, default="")
    task_args = models.JSONField(default=list, blank=True)
    task_kwargs = models.JSONField(default=dict, blank=True)
    task_options = models.JSONField(default=dict, blank=True)
    queue = models.CharField(_("queue"), max_length=255, blank=True, default="", editable=False)
    task_id = models.CharField(_("Celery task id"), max_length=255, blank=True, default="")
    attempt_token = models.CharField(max_length=32, blank=True, default="", editable=False)
    attempt_number = models.PositiveIntegerField(_("attempt"), default=0)
    executions = models.PositiveIntegerField(_("executions"), default=0)
    max_attempts = models.PositiveIntegerField(_("attempts allowed"), default=1)
    retry_delay = models.FloatField(_("delay between attempts"), default=0)
    attempt_timeout = models.FloatField(_("attempt timeout"), null=True, blank=True)
    lease = models.FloatField(_("lease"), null=True, blank=True)
    max_duration = models.FloatField(_("longest duration"), null=True, blank=True)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    publish_count = models.PositiveIntegerField(default=0, editable=False)

    created_at = models.DateTimeField(_("created at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    keep_finished = models.FloatField(_("kept after its end"), null=True, blank=True, editable=False)
    remove_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("ended by")
    )

    # The workflow that it is a step of; whoever may see or control that one, may this one.
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    # The name of the workflow that it is, and how many steps on its first level are not complete.
    workflow = models.CharField(_("workflow"), max_length=100, blank=True, default="", editable=False)
    steps_left = models.PositiveIntegerField(default=0, editable=False)

    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="retries")
    # The pk of retry_of while this one is active: unique, so that a double click retries once.
    # (MariaDB has no partial unique indexes; a column that becomes NULL does the same.)
    retry_slot = models.BigIntegerField(null=True, blank=True, unique=True, editable=False)
    # SHA-256 of scope and key, and of what was asked: collations can't confuse them.
    idempotency_hash = models.CharField(max_length=64, null=True, blank=True, unique=True, editable=False)
    idempotency_digest = models.CharField(max_length=64, blank=True, default="", editable=False)

    objects = ProcessManager.from_queryset(ProcessQuerySet)()

    class Meta:
        verbose_name = _("process")
        verbose_name_plural = _("processes")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="dp_process_status"),
            models.CheckConstraint(
                condition=Q(status__in=TERMINAL, finished_at__isnull=False)
                | Q(status__in=ACTIVE, finished_at__isnull=True),
                name="dp_process_finished",
            ),
            models.CheckConstraint(condition=Q(current__gte=0), name="dp_process_current"),
            models.CheckConstraint(condition=Q(total__isnull=True) | Q(total__gte=0), name="dp_process_total"),
            models.CheckConstraint(condition=Q(max_attempts__gte=1), name="dp_process_attempts"),
            # Whoever waits has nobody working on it.
            models.CheckConstraint(condition=Q(status=Status.RUNNING) | Q(attempt_token=""), name="dp_process_token"),
        ]
        # None of these columns is written by a report (see Attempt.Meta).
        indexes = [
            models.Index(fields=["owner", "-id"], name="dp_process_mine"),
            models.Index(fields=["visitor", "-id"], name="dp_process_visitor"),
            models.Index(fields=["status", "expires_at"], name="dp_process_deadline"),
            models.Index(fields=["status", "due_at"], name="dp_process_due"),
            models.Index(fields=["status", "queue", "id"], name="dp_process_ahead"),
            models.Index(fields=["status", "finished_at"], name="dp_process_age"),
            models.Index(fields=["task_name", "kind", "status", "finished_at"], name="dp_process_usual"),
        ]

    def __str__(self) -> str:
        return self.title

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to the thread that reports: a copy is like one that was read anew."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in ("_bound", "_own_ticks")}

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row; an existing one is refused, because saving would undo what others wrote."""
        if not self._state.adding:
            raise TypeError(
                "A process is changed through its verbs (milestone(), set_message(), succeed() …), not by save()."
            )
        super().save(*args, **kwargs)

    @property
    def title(self) -> str:
        """The description in the language that is active now; the kind where there is none."""
        return values.public_text(self.description, self.description_params) or self.kind or str(self.key)

    @property
    def lease_terms(self) -> tuple[float, float]:
        """How long an attempt at it may be silent, and how often its worker says that it isn't, in seconds."""
        lease = self.lease or conf.settings.of_kind(self.kind, "LEASE")
        return lease, max(0.05, min(conf.settings.of_kind(self.kind, "HEARTBEAT"), lease / 4))

    @property
    def messages(self) -> list[tuple[str, str]]:
        """The key/value messages, in the order in which the keys were first set."""
        return [(key, value) for key, value in self.message_pairs]
