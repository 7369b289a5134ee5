"""The same site, in a project where every request is a transaction."""

from tests.api.telling import application  # isort: split

from django.db import connections

__all__ = ["application"]

connections.settings["default"]["ATOMIC_REQUESTS"] = True
