"""The user that the demo logs in as."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

__all__ = ["PASSWORD", "USERNAME", "create"]

USERNAME = "demo"
PASSWORD = "demo"


def create(using: str, **kwargs: Any) -> None:
    """Create the user unless there is one of that name. A superuser, for a look at the admin."""
    users = get_user_model()._default_manager.db_manager(using)
    if not users.filter(username=USERNAME).exists():
        users.create_superuser(USERNAME, "demo@example.com", PASSWORD)
