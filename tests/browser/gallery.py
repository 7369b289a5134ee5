"""The example project in a live server: its pages, files and addresses under the tests' own, strict policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TAKEN = (
    *("BASE_DIR", "DEMO", "DJANGO_PROGRESS", "LOGIN_REDIRECT_URL", "LOGIN_URL", "LOGOUT_REDIRECT_URL"),
    *("ROOT_URLCONF", "SITE_URL", "TEMPLATES", "USE_THOUSAND_SEPARATOR"),
)


def serve_gallery(settings: Any, folder: Path) -> None:
    """Have the live server serve the example project for the rest of the test.

    Not its middleware: a live server outlives a test, and its middleware with it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXAMPLE_DATA_DIR", str(folder))
        from example_project import settings as example

    for name in TAKEN:
        setattr(settings, name, getattr(example, name))
    settings.STATICFILES_DIRS = [example.BASE_DIR / "example_project" / "static"]
    settings.DJANGO_PROGRESS = {**example.DJANGO_PROGRESS, "POLL_INTERVALS": (0.3, 0.3, 0.3)}
