"""The addresses of that site: the view is the document's, and so are the scripts."""

from __future__ import annotations

from types import ModuleType

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie

from tests.api.documents import code

views = ModuleType("tests.api.views")
views.__package__ = __package__
exec(compile(code("views.py"), "docs/api.md", "exec"), vars(views))


@ensure_csrf_cookie
def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!doctype html><title>Home</title>")


def script(request: HttpRequest, file: str) -> HttpResponse:
    return HttpResponse(code(file), content_type="text/javascript")


urlpatterns = [
    path("", home),
    path("imports/", views.start_import),
    path("scripts/<str:file>", script),
    path("progress/", include("django_progress.urls")),
]
