from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_migrate


class ExampleProjectConfig(AppConfig):
    """Makes the project's Celery app the current one, and a user for the demo."""

    name = "example_project"

    def ready(self) -> None:
        from . import celery, demo_user  # noqa: F401

        if settings.DEMO:
            post_migrate.connect(demo_user.create, sender=apps.get_app_config("auth"))
