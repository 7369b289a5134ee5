"""The code in docs/api.md."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["code"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def code(file: str) -> str:
    """Return the block that begins with the name of that file."""
    for language, sign in (("python", "#"), ("javascript", "//")):
        found = re.findall(rf"^```{language}\n({sign} {re.escape(file)}\n.*?)^```$", PAGE.read_text(), re.M | re.S)
        if found:
            assert len(found) == 1
            return str(found[0])
    raise LookupError(f"There is no {file} in {PAGE.name}.")
