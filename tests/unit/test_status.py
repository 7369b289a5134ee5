"""The one table of statuses, and that the database's constraints and guards say the same."""

from __future__ import annotations

import itertools

import pytest
from django.utils.functional import Promise

from django_progress.models import Attempt, Process
from django_progress.status import ACTIVE, TERMINAL, TRANSITIONS, Outcome, Status, sources


def test_table_knows_every_status() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert set(itertools.chain.from_iterable(TRANSITIONS.values())) == set(Status)


def test_every_status_is_either_active_or_terminal() -> None:
    assert sorted([*ACTIVE, *TERMINAL]) == sorted(Status)
    assert not set(ACTIVE) & set(TERMINAL)
    assert set(ACTIVE) == {Status.PENDING, Status.RUNNING}


@pytest.mark.parametrize("status", TERMINAL)
def test_terminal_is_final(status: Status) -> None:
    assert not TRANSITIONS[status]
    assert sources(status) == ACTIVE


@pytest.mark.parametrize("status", ACTIVE)
def test_active_can_end_in_every_way(status: Status) -> None:
    assert TRANSITIONS[status] >= set(TERMINAL)
    assert status not in TRANSITIONS[status]


@pytest.mark.parametrize(
    ("target", "expected"),
    [(Status.RUNNING, (Status.PENDING,)), (Status.PENDING, (Status.RUNNING,))],
)
def test_sources_of_active_ones(target: Status, expected: tuple[Status, ...]) -> None:
    assert sources(target) == expected


def test_stored_values_never_change() -> None:
    assert Status.values == ["pending", "running", "succeeded", "failed", "expired", "cancelled"]
    assert Outcome.values == [
        "", "succeeded", "failed", "requeued", "cancelled", "expired", "timed_out", "lost", "superseded",
    ]  # fmt: skip


def test_every_end_of_a_process_is_an_outcome_of_its_attempt() -> None:
    assert set(TERMINAL) <= set(Outcome.values)


@pytest.mark.parametrize(("model", "field", "values"), [(Process, "status", Status), (Attempt, "outcome", Outcome)])
def test_values_fit_their_columns(model: type, field: str, values: type[Status] | type[Outcome]) -> None:
    column = model._meta.get_field(field)  # type: ignore[attr-defined]
    assert max(map(len, values.values)) <= column.max_length
    assert column.choices == values.choices


@pytest.mark.parametrize("choice", [*Status, *Outcome])
def test_labels_are_translated_when_shown(choice: Status | Outcome) -> None:
    assert isinstance(choice._label_, Promise)  # type: ignore[union-attr]
    assert str(choice.label)
