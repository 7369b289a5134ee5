"""The points at which tests make things go wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_progress import failpoints

PACKAGE = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_armed", {})


def test_every_point_is_reached_somewhere_and_every_place_has_a_point() -> None:
    reached = re.findall(r'reach\("([^"]+)"\)', "".join(path.read_text() for path in PACKAGE.rglob("*.py")))
    assert sorted(reached) == sorted(failpoints.POINTS)


def test_a_point_is_armed_for_the_length_of_a_block() -> None:
    reached: list[int] = []
    with failpoints.armed("claim.done", lambda: reached.append(1)):
        with failpoints.armed("claim.done", lambda: reached.append(2)):
            failpoints.reach("claim.done")
            failpoints.reach("claim.before")
        failpoints.reach("claim.done")
    failpoints.reach("claim.done")
    assert reached == [2, 1]


def test_once_is_once_for_all_processes(tmp_path: Path) -> None:
    failpoints.arm_from(f"claim.done=raise@{tmp_path / 'once'}; claim.before=delay:0")
    with pytest.raises(failpoints.Failure):
        failpoints.reach("claim.done")
    failpoints.reach("claim.done")
    failpoints.reach("claim.before")


def test_wait_says_that_it_is_reached_and_waits(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    failpoints.arm_from(f"claim.done=wait:{tmp_path / 'go'}")
    failpoints.reach("claim.done")
    assert (tmp_path / "go.reached").exists()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("claim.done", "must be made of name=action"),
        ("claim.don=kill", "no failpoint 'claim.don'; known are publish.before"),
        ("claim.done=explode", "does kill, stop, raise, delay:SECONDS or wait:PATH, not 'explode'"),
        ("claim.done=delay:soon", "not 'delay:soon'"),
    ],
)
def test_what_can_t_be_armed_is_refused(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        failpoints.arm_from(text)
