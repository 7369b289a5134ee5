"""That the list beside this file names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def test_what_the_list_names_is_there() -> None:
    rows = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    for row in rows:
        files = re.findall(r"`((?:tests/\w+/)?test_\w+\.py)`", row)
        texts = [(HERE / file if "/" not in file else ROOT / file).read_text() for file in files]
        assert texts, row
        for name in re.findall(r"`(test_\w+)`", row):
            assert any(f"def {name}(" in text for text in texts), name
