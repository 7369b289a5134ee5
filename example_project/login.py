from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import views

from . import demo_user

__all__ = ["LoginView"]


class LoginView(views.LoginView):
    """The login page, which in the demo says whom to log in as."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        demo = {"username": demo_user.USERNAME, "password": demo_user.PASSWORD} if settings.DEMO else None
        return super().get_context_data(demo=demo, **kwargs)
