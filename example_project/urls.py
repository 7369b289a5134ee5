from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from .login import LoginView

urlpatterns = [
    path("", include("example_project.gallery.urls")),
    path("progress/", include("django_progress.urls")),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
]
