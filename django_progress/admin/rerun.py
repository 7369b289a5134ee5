"""The page on which staff chooses what of a workflow runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from .. import audit
from ..exceptions import ProgressError
from ..models import Via
from ..views.rerun import Rerun, Wish
from ..workflows import run_again

if TYPE_CHECKING:
    from ..models import Process

    Base = admin.ModelAdmin[Process]
else:
    Base = object

__all__ = ["RerunPage"]


class RerunPage(Base):
    """Shows what would run again, and has it done."""

    if TYPE_CHECKING:

        def has_control_permission(self, request: HttpRequest, obj: Process | None = None) -> bool: ...

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.rerun_view)
        return [path("<path:object_id>/rerun/", view, name="django_progress_process_rerun"), *super().get_urls()]

    def rerun_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what would run again and what would be reused; on POST, have it done."""
        if not self.has_control_permission(request):
            raise PermissionDenied
        process = self.get_object(request, unquote(object_id))
        if process is None or not process.workflow:
            raise Http404
        try:
            wish = Wish.of(request.POST if request.method == "POST" else request.GET)
        except ValueError:
            wish = None
        rerun = Rerun(process, wish)
        if request.method == "POST" and wish is not None and rerun.preview is not None:
            try:
                with audit.acting(Via.ADMIN, request.user):
                    again = run_again(process, wish.way, wish.path, by=request.user)
            except ProgressError as error:
                rerun.refuse(error)
            else:
                self.log_change(request, process, _("Started again."))
                self.message_user(request, _("It runs again as this process."), messages.SUCCESS)
                return HttpResponseRedirect(self._page_of(again))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Run again"),
            "opts": self.model._meta,
            "original": process,
            "has_view_permission": True,
            "process": process,
            "rerun": rerun,
            "rerun_url": request.path,
            "back_url": self._page_of(process),
        }
        return TemplateResponse(request, "admin/django_progress/process/rerun.html", context)

    def _page_of(self, process: Process) -> str:
        return reverse("admin:django_progress_process_change", args=[process.pk], current_app=self.admin_site.name)
