"""Every built-in objective, against the seam's own conformance suite."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from autocompress.errors import PluginError, UnknownName
from autocompress.evaluators.measurement import Measurement
from autocompress.search import objectives
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
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.search.values import valued
from autocompress.spaces import plugins
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec
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


class Energy:
    """An objective of somebody's own, which not every machine tells."""

    name = "energy"
    maximized = False

    def value(self, measured: Mapping[str, Measurement]) -> float:
        return max(file.latency.energy_mj for file in measured.values())  # type: ignore[type-var, return-value]


class Undefined(Energy):
    name = "undefined"

    def value(self, measured: Mapping[str, Measurement]) -> float:
        return super().value(measured) if measured["here"].latency.energy_mj else float("nan")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("objectives_of_a_test")
    module.__dict__.update(Energy=Energy, Undefined=Undefined)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    mine = {cls.name: f"{module.__name__}:{cls.__name__}" for cls in (Energy, Undefined)}
    theirs = plugins.installed(OBJECTIVES.group)
    monkeypatch.setattr(
        plugins, "installed", lambda group: (*theirs, *(EntryPoint(name, value, group) for name, value in mine.items()))
    )
    objectives._objective.cache_clear()
    yield
    objectives._objective.cache_clear()


@pytest.mark.parametrize("name", ["energy", "undefined"])
def test_a_model_that_an_objective_gives_no_number_for_has_failed(own: None, name: str) -> None:
    """It ended the search in a traceback, and every later run of the study."""
    trial = Trial(2, Plan(), StudentSpec(), Origin.SEARCH, "search", TrialState.FINISHED, measured={"here": FILE})
    assert valued(trial, ("accuracy", name)) == (trial, [FILE.accuracy, FILE.latency.energy_mj])
    unknown = replace(trial, measured={"here": replace(FILE, latency=replace(FILE.latency, energy_mj=None))})
    failed, values = valued(unknown, ("accuracy", name))
    assert failed.state is TrialState.FAILED and not failed.measured and values is None
    assert name in failed.reason and "\n" not in failed.reason
    with pytest.raises(PluginError, match=name):
        valued(replace(unknown, origin=Origin.TEACHER), ("accuracy", name))
