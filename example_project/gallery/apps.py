from django.apps import AppConfig


class GalleryConfig(AppConfig):
    """One page for each thing that django_progress does."""

    name = "example_project.gallery"
    default_auto_field = "django.db.models.BigAutoField"
