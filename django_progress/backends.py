"""Object permissions: ``user.has_perm("django_progress.view_process", process)``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend

from . import access
from .models import Process

__all__ = ["ProcessBackend"]

VIEW, CHANGE = "django_progress.view_process", "django_progress.change_process"


class ProcessBackend(BaseBackend):
    """Answer by the policy that the app's own pages go by. It authenticates nobody.

    Add it to ``AUTHENTICATION_BACKENDS``, after Django's own.
    """

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        """Say whether ``user_obj`` may view or change (cancel, retry) the process ``obj``."""
        if not isinstance(obj, Process) or not user_obj.is_active:
            return False
        who = access.Who(user_obj)
        if perm == VIEW:
            return access.policy().may_view(who, obj)
        if perm == CHANGE:
            return access.policy().may_control(who, obj)
        return False

    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return those of the two that ``user_obj`` has; Django asks for them in ``ahas_perm()``."""
        return {perm for perm in (VIEW, CHANGE) if self.has_perm(user_obj, perm, obj)}
