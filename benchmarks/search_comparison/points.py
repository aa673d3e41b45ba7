"""What a run leaves behind: its finished models over time, as one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autocompress.errors import StorageError
from autocompress.evaluators.measurement import Measurement
from autocompress.search.objectives import worth
from autocompress.search.store.files import read_json, write_json
from autocompress.spaces.plan import Plan


@dataclass(frozen=True)
class Terms:
    """What all runs of a comparison share.

    settings: the study's. minutes: each run has. teacher_accuracy: of its file, on validation, like all accuracies
    here; teacher_ms: its p50. chance: the accuracy of always giving the commonest answer. opening_s: what it takes to
    open the study again when all is prepared, which is counted for nobody. conditions: the machine, see
    `machine.conditions`.
    """

    study: str
    settings: Mapping[str, Any]
    minutes: float
    teacher_accuracy: float
    teacher_ms: float
    chance: float
    opening_s: float
    budget_ms: float | None = None
    percentile: int = 50
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Point:
    """A finished model. seconds: since the start of its run. latency_ms: p50, with its 95 % interval; bound_ms: what is
    held against the budget. plan: the plan's key.
    """

    seconds: float
    accuracy: float
    latency_ms: float
    low_ms: float
    high_ms: float
    bound_ms: float
    plan: str

    @classmethod
    def of(cls, measurement: Measurement, plan: Plan, seconds: float, percentile: int) -> Point:
        """The point of a measurement."""
        latency = measurement.latency
        return cls(
            round(seconds, 2),
            worth("accuracy", measurement),
            latency.p50_ms,
            latency.low_ms,
            latency.high_ms,
            latency.at(percentile),
            plan.key(),
        )


@dataclass(frozen=True)
class Run:
    """One method with one seed. counts: trials by how they ended. spent_s: by kind of work. ended_s: when it stopped,
    before its time was over where it had nothing left to try (exhausted).
    """

    method: str
    seed: int
    terms: Terms
    points: tuple[Point, ...]
    counts: Mapping[str, int]
    spent_s: Mapping[str, float]
    ended_s: float
    exhausted: bool

    def write(self, folder: Path) -> None:
        """Keep it as `METHOD-SEED.json`. Raises StorageError when the disk is full."""
        write_json(run_path(folder, self.method, self.seed), asdict(self))


def run_path(folder: Path, method: str, seed: int) -> Path:
    """Where a run is kept once it has ended."""
    return folder / f"{method}-{seed}.json"


def read_run(path: Path) -> Run:
    """The inverse of `Run.write`. Raises StorageError for another file."""
    data = read_json(path)
    try:
        points = tuple(Point(**point) for point in data["points"])
        return Run(**{**data, "terms": Terms(**data["terms"]), "points": points})
    except (TypeError, KeyError) as error:
        raise StorageError(f"{path}: not a run of this benchmark ({error}); move it out of the folder") from error


def read_runs(folder: Path) -> list[Run]:
    """Every run of a comparison that has ended. Raises StorageError: one of them is of another comparison."""
    found = [read_run(path) for path in sorted(folder.glob("*-*.json"))]
    for run in found[1:]:
        if run.terms != found[0].terms:
            paths = [run_path(folder, r.method, r.seed).name for r in (found[0], run)]
            raise StorageError(f"{folder}: {' and '.join(paths)} were run on other terms; keep one comparison a folder")
    return found
