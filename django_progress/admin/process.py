from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import NestedObjects, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import connections, router
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from .. import audit
from ..models import Attempt, Event, Process, Share, ShareLink, Step, Via
from ..redaction import redacted
from . import cells
from .closed import ClosedAdmin
from .filters import KindFilter, StatusFilter
from .page import LARGE, Page
from .parts import as_uuid, may_see_processes, task_result_urls
from .rerun import RerunPage
from .steps import steps_of
from .trail import sharing_of, trail_of
from .verbs import VERBS, Result, Verb

if TYPE_CHECKING:
    from ..querysets import ProcessQuerySet

__all__ = ["ProcessAdmin"]

EVENTS_SHOWN = 100
ATTEMPTS_SHOWN = 50


class ProcessList(ChangeList):
    """The list, without what it doesn't show."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # MariaDB can't tell days apart before its time zones are loaded, and a fresh one has none.
        if not connections[self.queryset.db].features.has_zoneinfo_database:
            self.date_hierarchy = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        # The steps of workflows are found by what they are searched for, and on the workflow's page.
        found = super().get_queryset(request, exclude_parameters).defer(*LARGE)
        return found if self.query else found.filter(parent=None)


class Doomed(NestedObjects):
    """What a deletion would take along; what is a part of the process, and may be much, is only counted."""

    @property
    def rows(self) -> dict[type[Model], set[Model]]:
        return self.model_objs  # type: ignore[return-value]

    def can_fast_delete(self, objs: Any, from_field: Any = None) -> bool:
        return objs in (Event, Attempt, Share, ShareLink, Step)


@admin.register(Process)
class ProcessAdmin(Page, RerunPage, ClosedAdmin):
    """Shows processes to staff. Whoever may change them may use the verbs; nobody edits a value."""

    list_display = ["what", "status_badge", "progress", "kind", "owner", "time_taken", "attempts", "created_at"]
    list_filter = [StatusFilter, ("kind", KindFilter), ("owner", admin.EmptyFieldListFilter), "created_at"]
    filtered_by = ("status", "kind", "owner", "created_at", "retry_of")
    list_select_related = ["owner"]
    sortable_by = ["created_at"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    search_help_text = _("Search by description, kind, owner, key, Celery task id or error reference.")
    actions = ["cancel_selected", "expire_selected", "retry_selected", "rerun_failed_selected", "revoke_selected"]

    class Media:
        css = {"all": ["django_progress/admin.css"]}

    # -- permissions -------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Process | None = None) -> bool:
        return may_see_processes(request)

    def has_change_permission(self, request: HttpRequest, obj: Process | None = None) -> bool:
        """Return False: a process is changed by its verbs, which :meth:`has_control_permission` allows."""
        return False

    def has_control_permission(self, request: HttpRequest, obj: Process | None = None) -> bool:
        """Whether the user may use the verbs: who has the model's permission to change."""
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Process | None = None) -> bool:
        deletable = obj is None or (obj.is_finished and obj.parent_id is None)
        return super().has_delete_permission(request, obj) and deletable

    # -- finding -----------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> ProcessQuerySet:
        return super().get_queryset(request).with_now()  # type: ignore[attr-defined, no-any-return]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ProcessList

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return ["description", "kind", f"owner__{get_user_model().USERNAME_FIELD}", "error_reference__iexact"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Process], search_term: str
    ) -> tuple[QuerySet[Process], bool]:
        # A key is unique and has an index, so there is no need to look any further.
        if (key := as_uuid(search_term)) is not None and (by_key := queryset.filter(key=key)).exists():
            return by_key, False
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        if not (term := search_term.strip()):
            return found, may_have_duplicates
        # Every attempt has a task id and a reference of its own.
        attempts = Attempt.objects.filter(Q(task_id=term) | Q(error_reference__iexact=term)).values("process")
        return found | queryset.filter(Q(task_id=term) | Q(pk__in=attempts)), may_have_duplicates

    def view_on_site(self, obj: Process) -> str:
        return obj.get_absolute_url()

    # -- the page of one process -------------------------------------------------------

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Process | None = None,
    ) -> HttpResponse:
        assert obj is not None  # Nothing is added here.
        context |= {"progress_verbs": self.get_verbs(request, obj)}
        context |= self.get_events(obj)
        context |= self.get_attempts(request, obj) | steps_of(obj, self.admin_site)
        context |= sharing_of(obj) | trail_of(obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def get_verbs(self, request: HttpRequest, process: Process) -> list[Verb]:
        """Return the verbs that the user may use on it now."""
        if not self.has_control_permission(request, process):
            return []
        return [verb for verb in VERBS.values() if verb.fits(process)]

    def get_events(self, process: Process) -> dict[str, Any]:
        """Return the last events, in order, and how many there are besides."""
        events = list(process.event_set.order_by("-seq")[:EVENTS_SHOWN])[::-1]
        rows = [
            (event, json.dumps(redacted(event.details), ensure_ascii=False) if event.details else "")
            for event in events
        ]
        more = process.event_set.filter(seq__lt=events[0].seq).count() if len(events) == EVENTS_SHOWN else 0
        return {"progress_events": rows, "progress_more_events": more}

    def get_attempts(self, request: HttpRequest, process: Process) -> dict[str, Any]:
        """Return the last attempts, in order, and how many there are besides."""
        attempts = list(process.attempt_set.order_by("-number")[:ATTEMPTS_SHOWN])[::-1]
        results = task_result_urls(request, self.admin_site, [attempt.task_id for attempt in attempts])
        rows = [
            {
                "attempt": attempt,
                "outcome": cells.outcome(attempt),
                "took": cells.duration(attempt.seconds),
                "result_url": results.get(attempt.task_id, ""),
                "detail": cells.preformatted(attempt.error_detail),
            }
            for attempt in attempts
        ]
        more = attempts[0].number - 1 if len(attempts) == ATTEMPTS_SHOWN else 0
        return {"progress_attempts": rows, "progress_more_attempts": more}

    # -- the verbs ---------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        views = [
            path(
                f"<path:object_id>/{verb.name}/",
                self.admin_site.admin_view(partial(self.verb_view, verb=verb)),
                name=f"django_progress_process_{verb.name}",
            )
            for verb in VERBS.values()
        ]
        return [*views, *super().get_urls()]

    def verb_view(self, request: HttpRequest, object_id: str, verb: Verb) -> HttpResponse:
        """Use a verb on one process, and return to its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_control_permission(request):
            raise PermissionDenied
        process = self.get_object(request, unquote(object_id))
        if process is None:
            raise Http404
        result, process = self._apply(request, verb, process)
        self.message_user(request, result.say(1), result.level)
        url = reverse("admin:django_progress_process_change", args=[process.pk], current_app=self.admin_site.name)
        return HttpResponseRedirect(url)

    @admin.action(description=_("Cancel selected %(verbose_name_plural)s"), permissions=["control"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Process]) -> None:
        self._apply_to_all(request, VERBS["cancel"], queryset)

    @admin.action(description=_("Expire selected %(verbose_name_plural)s"), permissions=["control"])
    def expire_selected(self, request: HttpRequest, queryset: QuerySet[Process]) -> None:
        self._apply_to_all(request, VERBS["expire"], queryset)

    @admin.action(description=_("Start selected %(verbose_name_plural)s again"), permissions=["control"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Process]) -> None:
        self._apply_to_all(request, VERBS["retry"], queryset)

    @admin.action(description=_("Run what failed of selected %(verbose_name_plural)s again"), permissions=["control"])
    def rerun_failed_selected(self, request: HttpRequest, queryset: QuerySet[Process]) -> None:
        self._apply_to_all(request, VERBS["rerun_failed"], queryset)

    @admin.action(description=_("Revoke the links to selected %(verbose_name_plural)s"), permissions=["control"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Process]) -> None:
        self._apply_to_all(request, VERBS["revoke"], queryset)

    def _apply_to_all(self, request: HttpRequest, verb: Verb, queryset: QuerySet[Process]) -> None:
        counts = dict.fromkeys(Result, 0)
        # One at a time: thousands may be selected, each with megabytes of JSON.
        for pk in list(queryset.values_list("pk", flat=True)):
            process = self.get_queryset(request).filter(pk=pk).first()
            if process is not None:
                counts[self._apply(request, verb, process)[0]] += 1
        for result, count in counts.items():
            if count:
                self.message_user(request, result.say(count), result.level)

    def _apply(self, request: HttpRequest, verb: Verb, process: Process) -> tuple[Result, Process]:
        with audit.acting(Via.ADMIN, request.user):
            result, now = verb.apply(process, request.user)
        if result.logged:
            self.log_change(request, process, result.logged)
        return result, now

    # -- deleting ----------------------------------------------------------------------

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what would go and what is in the way, with processes that have not finished, or are steps."""
        processes = list(objs)
        doomed = Doomed(using=router.db_for_write(self.model))
        doomed.collect(processes)
        counts = {model._meta.verbose_name_plural: len(rows) for model, rows in doomed.rows.items()}
        counts |= {rows.model._meta.verbose_name_plural: rows.count() for rows in doomed.fast_deletes}
        site = self.admin_site
        lacking = {
            model._meta.verbose_name
            for model in doomed.rows
            if site.is_registered(model) and not site.get_model_admin(model).has_delete_permission(request)
        }
        # Steps go with their workflow, and that goes when nothing of it executes any more.
        executing = Process.objects.active().filter(parent__in=[process.pk for process in processes])
        stopping = set(executing.values_list("parent", flat=True))
        in_the_way = [
            process
            for process in processes
            if process.is_active or process.parent_id is not None or process.pk in stopping
        ]
        return doomed.nested(str), counts, lacking, [*in_the_way, *doomed.protected]

    def delete_model(self, request: HttpRequest, obj: Process) -> None:
        with audit.acting(Via.ADMIN, request.user):
            obj.remove()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Process]) -> None:
        with audit.acting(Via.ADMIN, request.user):
            for process in queryset:
                process.remove()
