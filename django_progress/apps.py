from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoProgressConfig(AppConfig):
    """Wires the layers together when Django starts."""

    name = "django_progress"
    verbose_name = _("Progress")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, coordination, engines, owning, tasks, worker, workflows  # noqa: F401
        from .push import sending

        engines.register(tasks.CeleryEngine())
        coordination.register(workflows.Workflows())
        sending.install()
