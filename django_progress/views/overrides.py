"""Which template is used: a kind's own comes first."""

from __future__ import annotations

__all__ = ["FOLDERS", "templates"]

FOLDERS = {"bits", "fragments", "live"}
"""Folders beside those of the kinds: no kind's templates are looked for in them."""


def templates(kind: str, name: str) -> list[str]:
    """Return the templates to look for, the kind's own first."""
    own = [f"django_progress/{kind}/{name}"] if kind and kind not in FOLDERS else []
    return [*own, f"django_progress/{name}"]
