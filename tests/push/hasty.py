"""The tests' site, with little patience: what takes seconds elsewhere takes a part of one here."""

from tests.push.asgi import application  # isort: split

from django_progress.views import permits, streaming

__all__ = ["application"]

streaming.PATIENCE = 1.0
permits.AGE = 0.6
