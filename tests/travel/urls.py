from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from . import views


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<!doctype html><title>{request.path}</title><h1>{request.path}</h1>")


urlpatterns = [
    path("flights/search/", views.search, name="search"),
    path("flights/api/", views.search_api, name="search-api"),
    path("flights/results/<uuid:key>/", views.results, name="results"),
    path("flights/sorry/", page, name="sorry"),
    path("flights/late/", page, name="late"),
    path("parcels/", page, name="parcels"),
    path("host/<int:version>/<uuid:key>/", views.host, name="host"),
    path("host/<int:version>/<uuid:key>/wilful/", views.wilful, name="wilful"),
    path("host/<int:version>/<uuid:key>/together/", views.together, name="together"),
    path("host/<int:version>/<uuid:key>/results/", views.host_results, name="host-results"),
]
