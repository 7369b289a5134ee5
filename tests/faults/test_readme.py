"""That the list of faults beside this file is complete for I1 to I7, and names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIST = (HERE / "README.md").read_text()
ROWS = [
    (int(number), [cell.strip() for cell in line.strip().strip("|").split(" | ")])
    for line in LIST.splitlines()
    for number in re.findall(r"^\| (\d+) ", line)
]
TESTS = {
    name for file in HERE.parent.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
}
FAULTS = {int(number) for name in TESTS for number in re.findall(r"^test_fault_(\d+)_", name)}


@pytest.mark.parametrize("number", [*range(1, 72), *range(76, 81)])
def test_each_fault_has_a_test_and_a_row(number: int) -> None:
    assert number in FAULTS
    assert number in {row for row, _cells in ROWS}


def test_each_row_has_its_tests_and_says_everything() -> None:
    for number, cells in ROWS:
        assert number in FAULTS
        assert len(cells) == 4, number
        assert all(cells), number


def test_what_the_list_names_is_there() -> None:
    for file in re.findall(r"`((?:tests/\w+/)?test_\w+\.py)`", LIST):
        assert (HERE / file).exists() or (HERE.parent.parent / file).exists(), file
    for name, open_ended in re.findall(r"`(test_fault_\w+)(…?)`", LIST):
        assert any(test.startswith(name) if open_ended else test == name for test in TESTS), name
    for ending in re.findall(r"`…(_\w+)`", LIST):
        assert any(test.endswith(ending) for test in TESTS), ending
