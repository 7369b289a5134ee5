"""What every test may ask for at its end: that the invariants hold (see ``django_progress.invariants``)."""

from __future__ import annotations

from typing import Any

from django_progress.invariants import find_violations


def check_invariants(*, broker: bool = False, margin: float | None = None, **asked: Any) -> None:
    """Fail with all that is wrong. Punctuality and the broker are looked at only when they are asked for."""
    found = find_violations(broker=broker, margin=margin, **asked)
    assert not found, "\n".join(map(str, found))
