"""The addresses that are polled: ours, and celery-progress's."""

from django.urls import include, path

urlpatterns = [
    path("progress/", include("django_progress.urls")),
    path("celery-progress/", include("celery_progress.urls")),
]
