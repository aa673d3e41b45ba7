"""Objectives by name: "accuracy", "latency_ms" (on the first target), "latency_ms@TARGET" (on another one),
"size_bytes" and "compressed_bytes" (of the largest file)."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluators.measurement import Latency, Measurement
from ..studies.schema import StudySections
from .trial import Trial


def objectives_of(settings: StudySections) -> tuple[str, ...]:
    """The study's objectives, with the latency on each target as one of its own."""
    others = [] if settings.target.any_of else [t.name for t in settings.target.targets()[1:]]
    found: list[str] = []
    for name in settings.search.objectives:
        found.append(name)
        if name == "latency_ms":
            found += [f"latency_ms@{other}" for other in others]
    return tuple(found)


def is_latency(name: str) -> bool:
    """Whether an objective is a latency, which is known before any training."""
    return name.startswith("latency_ms")


def worth(name: str, measurement: Measurement) -> float:
    """An objective's value in its own units. The accuracy of a student is the lowest of its files'."""
    if name == "accuracy":
        return min(file.accuracy for file in measurement.files)
    if is_latency(name):
        other = name.partition("@")[2]
        return (measurement.elsewhere[other] if other else measurement).latency.p50_ms
    return float(max(getattr(file, name) for file in measurement.files))


def costs_of(names: Sequence[str], measurement: Measurement) -> list[float]:
    """Values of all objectives, lower is better."""
    return [-worth(name, measurement) if name == "accuracy" else worth(name, measurement) for name in names]


def gate_latency(name: str, trial: Trial) -> Latency:
    """The latency of a trial's shape that an objective means."""
    other = name.partition("@")[2]
    found = trial.gate_elsewhere[other] if other else trial.gate
    assert found is not None
    return found
