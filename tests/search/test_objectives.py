"""Every built-in objective, against the seam's own conformance suite."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autocompress.errors import UnknownName
from autocompress.search.objectives import (
    OBJECTIVES,
    Accuracy,
    CompressedBytes,
    LatencyMs,
    Objective,
    SizeBytes,
    is_maximized,
    objective_costs,
    objective_value,
    objectives_of,
)
from autocompress.studies.study_file import StudyFile
from autocompress.testing import ObjectiveConformance
from autocompress.testing.objective import FILE


class TestAccuracy(ObjectiveConformance):
    def make_objective(self) -> Objective:
        return Accuracy()


class TestLatencyMs(ObjectiveConformance):
    def make_objective(self) -> Objective:
        return LatencyMs()


class TestSizeBytes(ObjectiveConformance):
    def make_objective(self) -> Objective:
        return SizeBytes()


class TestCompressedBytes(ObjectiveConformance):
    def make_objective(self) -> Objective:
        return CompressedBytes()


def test_every_registered_objective_is_tried_here_and_has_its_own_name() -> None:
    ours = {name: OBJECTIVES.load(name) for name in OBJECTIVES.names()}
    ours = {name: cls for name, cls in ours.items() if cls.__module__.startswith("autocompress.")}
    assert set(ours.values()) == {Accuracy, LatencyMs, SizeBytes, CompressedBytes}
    assert all(cls.name == name for name, cls in ours.items())


def test_of_several_files_the_worst_counts() -> None:
    worse = replace(
        FILE, accuracy=0.5, size_bytes=300_000, compressed_bytes=1, latency=replace(FILE.latency, p50_ms=9.0)
    )
    both = {"here": FILE, "there": worse}
    assert objective_value("accuracy", both) == 0.5
    assert objective_value("size_bytes", both) == 300_000
    assert objective_value("compressed_bytes", both) == FILE.compressed_bytes
    assert objective_value("latency_ms@there", both) == 9.0
    with pytest.raises(ValueError):
        objective_value("latency_ms", both)
    assert objective_costs(("accuracy", "latency_ms@here"), both) == [-0.5, FILE.latency.p50_ms]
    assert is_maximized("accuracy") and not is_maximized("latency_ms@there")


def test_a_model_for_several_targets_has_a_latency_on_each() -> None:
    one = StudyFile()
    assert objectives_of(one) == ("accuracy", "latency_ms")
    several = one.changed("target", runtime=("onnxruntime", "openvino"))
    assert objectives_of(several) == ("accuracy", "latency_ms@onnxruntime", "latency_ms@openvino")
    assert objectives_of(several.changed("target", any_of=True)) == ("accuracy", "latency_ms")


def test_an_unknown_objective_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        objectives_of(StudyFile().changed("search", objectives=("acuracy", "latency_ms")))
