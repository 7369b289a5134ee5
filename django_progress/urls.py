"""The app's addresses; their names are promises."""

from __future__ import annotations

from django.urls import path

from .views import api, fragments, openapi, page_stream, pages, rerun, shared, streams, verbs

app_name = "django_progress"

urlpatterns = [
    path("", pages.mine, name="process-list"),
    path("stream/", page_stream.stream, name="process-page-stream"),
    path("openapi.json", openapi.description, name="process-openapi"),
    path("fragments/mine/", fragments.mine, name="process-list-fragment"),
    path("shared/<str:token>/", shared.page, name="process-shared"),
    path("shared/<str:token>/fragment/", shared.fragment, name="process-shared-fragment"),
    path("<uuid:key>/", pages.detail, name="process-detail"),
    path("<uuid:key>/wait/", pages.wait, name="process-wait"),
    path("<uuid:key>/status/", api.status, name="process-status"),
    path("<uuid:key>/result/", api.result, name="process-result"),
    path("<uuid:key>/events/", api.events, name="process-events"),
    path("<uuid:key>/stream/", streams.stream, name="process-stream"),
    path("<uuid:key>/cancel/", verbs.cancel, name="process-cancel"),
    path("<uuid:key>/retry/", verbs.retry, name="process-retry"),
    path("<uuid:key>/rerun/", rerun.rerun, name="process-rerun"),
    path("<uuid:key>/rerun/plan/", rerun.plan, name="process-rerun-plan"),
    path("<uuid:key>/fragments/wait/", fragments.wait, name="process-wait-fragment"),
    path("<uuid:key>/fragments/status/", fragments.status, name="process-status-fragment"),
]
