"""The benchmark of what distillation is worth: how many trainings fit, and what is said of pairs."""

from __future__ import annotations

import pytest

from autocompress.spaces.spec import Recovery
from benchmarks import distillation_worth as worth


@pytest.mark.parametrize(
    ("minutes", "training_s", "expected"),
    [(None, 60.0, 20), (60.0, 10.0, 20), (60.0, 60.0, 4), (1.0, 60.0, 2)],
)
def test_so_many_trainings_are_made_as_fit(minutes: float | None, training_s: float, expected: int) -> None:
    trials = worth.fitting_trials(minutes, 20, training_s, students=6, aids=3)
    assert trials == expected
    if minutes is not None and trials > worth.LEAST_TRIALS:
        assert (2 * trials - 1 + 3) * 6 * training_s <= 60 * minutes


def test_differences_are_paired() -> None:
    assert worth.difference([(0.9, 0.8), (0.5, 0.4), (0.3, 0.2)]) == "+0.1000 ± 0.0000 (3 pairs)"
    assert worth.difference([(0.9, 0.8), (0.6, 0.6)]) == "+0.0500 ± 0.6353 (2 pairs)"
    assert worth.difference([(0.9, 0.8)]) == "+0.1000 (one pair)"


def test_the_validation_split_chooses_and_the_test_split_does_not() -> None:
    taught = [worth.Taught(Recovery(), 0.8, 0.9, 1.0), worth.Taught(Recovery(), 0.9, 0.7, 1.0)]
    assert worth.best(taught).test == 0.7
