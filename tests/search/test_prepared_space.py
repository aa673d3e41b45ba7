"""What a space offers, where something that is measured before it is laid cannot be measured."""

from __future__ import annotations

import random

import pytest
from simulated_study import latency

from autocompress.errors import MeasurementError, StorageError, TrialFailed
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.evaluate.gate import Shape
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.prepare import space as preparing
from autocompress.search.prepare.space import prepare_space
from autocompress.spaces.spec import StudentSpec


@pytest.mark.parametrize(
    "failure", [TrialFailed("says\nNaN"), MeasurementError("was killed"), ZeroDivisionError("zero")]
)
def test_zeros_that_cannot_be_measured_are_not_offered(
    opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Without four fifths of its weights a network may answer with numbers that are none: no search began."""

    def time_shape(context: EvaluationContext, spec: StudentSpec) -> Shape:
        if {pattern.kind for pattern in spec.patterns.values()} == {"unstructured"}:
            raise failure
        return Shape(dict.fromkeys(context.sessions, latency(0.5, 1.0, random.Random(0))), 1000)

    monkeypatch.setattr(preparing, "time_shape", time_shape)
    said: list[str] = []
    settings = opened_context.settings.changed("space", axes=("channels", "pattern"))
    found = prepare_space(opened_context.context, settings, said.append)
    assert all(set(ratios) == {"2:4"} for ratios in found.pattern_ratios.values()) and found.pattern_ratios
    (told,) = [line for line in said if "zeros" in line]
    assert "unstructured" in told and "not offered" in told and "\n" not in told


def test_a_full_disk_is_told_while_zeros_are_measured(
    opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_shape(context: EvaluationContext, spec: StudentSpec) -> Shape:
        raise StorageError("the disk is full")

    monkeypatch.setattr(preparing, "time_shape", time_shape)
    with pytest.raises(StorageError, match="full"):
        prepare_space(opened_context.context, opened_context.settings.changed("space", axes=("pattern",)), print)
