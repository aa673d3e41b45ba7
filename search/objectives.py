"""Objectives by name.

"accuracy" is the lowest metric of a model's files. "latency_ms@TARGET" is the median on that target, "latency_ms" that
of a model with one file. "size_bytes" and "compressed_bytes" are those of the largest file. Installed packages may
bring others through the entry-point group `autocompress.objectives`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from ..errors import PluginError, StudyFileError, one_line
from ..evaluators.measurement import Latency, Measurement
from ..spaces.plugins import Registry
from ..spaces.target import PerTarget
from ..studies.schema import StudySections


@runtime_checkable
class Objective(Protocol):
    """Something that a front trades off. Made without arguments; holds no state.

    Attributes:
        name: An identifier, the same as the entry point's; study files name the objective by it.
        maximized: Whether larger values are better.
    """

    name: str
    maximized: bool

    def value(self, measured: PerTarget[Measurement]) -> float:
        """Return the value of a model in the objective's own units, from what was measured of its files."""
        ...


class Accuracy:
    """The lowest metric of a model's files, on the validation split."""

    name = "accuracy"
    maximized = True

    def value(self, measured: PerTarget[Measurement]) -> float:
        """Return the lowest metric."""
        return min(file.accuracy for file in measured.values())


class SizeBytes:
    """The size of a model's largest file."""

    name = "size_bytes"
    maximized = False

    def value(self, measured: PerTarget[Measurement]) -> float:
        """Return bytes."""
        return float(max(file.size_bytes for file in measured.values()))


class CompressedBytes:
    """The size of a model's largest file after compression."""

    name = "compressed_bytes"
    maximized = False

    def value(self, measured: PerTarget[Measurement]) -> float:
        """Return bytes."""
        return float(max(file.compressed_bytes for file in measured.values()))


class LatencyMs:
    """The median latency of a model with one file."""

    name = "latency_ms"
    maximized = False

    def value(self, measured: PerTarget[Measurement]) -> float:
        """Return milliseconds.

        Raises:
            ValueError: The model has several files; say which by "latency_ms@TARGET".
        """
        (file,) = measured.values()
        return file.latency.p50_ms


OBJECTIVES: Registry[Objective] = Registry("objective", "autocompress.objectives", Objective)


def objectives_of(settings: StudySections) -> tuple[str, ...]:
    """Return the study's objectives, with a latency for each target where models are built for several.

    Raises:
        UnknownName: An objective that does not exist.
        PluginError: An objective that cannot be loaded.
        StudyFileError: Accuracy is not among them.
    """
    targets = settings.target.targets()
    each = [f"latency_ms@{t.name}" for t in targets] if len(targets) > 1 and not settings.target.any_of else []
    found: list[str] = []
    for name in settings.search.objectives:
        OBJECTIVES.make(name)
        found += each if name == "latency_ms" and each else [name]
    if Accuracy.name not in found:
        raise StudyFileError(
            f"[search] objectives = {list(settings.search.objectives)} lack accuracy: without it, a model that knows "
            "nothing is the best"
        )
    return tuple(found)


def is_latency(name: str) -> bool:
    """Tell whether an objective is a latency, which is known before any training."""
    return name.partition("@")[0] == LatencyMs.name


def directions_of(names: Sequence[str]) -> list[Literal["maximize", "minimize"]]:
    """Return which way each objective is made better, as Optuna names it."""
    return ["maximize" if is_maximized(name) else "minimize" for name in names]


def is_maximized(name: str) -> bool:
    """Tell whether larger values of an objective are better."""
    return not is_latency(name) and _objective(name).maximized


def objective_value(name: str, measured: PerTarget[Measurement]) -> float:
    """Return the value of a model in the objective's own units.

    Raises:
        PluginError: An objective of an installed package gives no number for this model.
    """
    if is_latency(name):
        return latency_of(name, {target: file.latency for target, file in measured.items()}).p50_ms
    objective = _objective(name)
    try:
        value = float(objective.value(measured))
    except Exception as error:  # of a package's own code
        raise PluginError(
            f"objective {name!r} gives no number for a model ({type(error).__name__}: {one_line(error)}); leave it "
            "out, or see to its package"
        ) from error
    if math.isnan(value):
        raise PluginError(f"objective {name!r} gives no number for a model; leave it out, or see to its package")
    return value


def objective_costs(names: Sequence[str], measured: PerTarget[Measurement]) -> list[float]:
    """Return the values of all objectives, lower is better."""
    return [-objective_value(n, measured) if is_maximized(n) else objective_value(n, measured) for n in names]


def latency_of(name: str, latencies: PerTarget[Latency]) -> Latency:
    """Return the latency that an objective means."""
    target = name.partition("@")[2]
    if target:
        return latencies[target]
    (only,) = latencies.values()
    return only


@functools.cache  # looking through all installed packages takes as long as a hundred trials do to be compared
def _objective(name: str) -> Objective:
    return OBJECTIVES.make(name)
