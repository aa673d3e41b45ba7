"""What a run leaves behind: its finished models over time, as one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autocompress.errors import StorageError
from autocompress.evaluators.measurement import Measurement
from autocompress.files import read_json, write_json
from autocompress.spaces.spec import StudentSpec


@dataclass(frozen=True)
class Terms:
    """What all runs of a comparison share.

    Attributes:
        study: Name of the study.
        settings: Of the study.
        minutes: That each run has.
        teacher_accuracy: Of the teacher's file on the validation split, like all accuracies here.
        teacher_ms: Its median latency.
        chance: Accuracy of always giving the commonest answer.
        opening_s: Seconds that it takes to open the study again when all is prepared; they are counted for nobody.
        budget_ms: Of the study, None without one.
        percentile: Of latency, that the budget is about.
        conditions: The machine; see `machine.conditions`.
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
    """A finished model.

    Attributes:
        seconds: Since the start of its run.
        accuracy: Of its file on the validation split.
        latency_ms: The median.
        low_ms: Lower end of its 95 % interval.
        high_ms: Upper end of it.
        bound_ms: What is held against the budget.
        student: Key of what the model was made by.
    """

    seconds: float
    accuracy: float
    latency_ms: float
    low_ms: float
    high_ms: float
    bound_ms: float
    student: str

    @classmethod
    def of(cls, measurement: Measurement, spec: StudentSpec, seconds: float, percentile: int) -> Point:
        """Return the point of a model that was finished after so many seconds."""
        latency = measurement.latency
        return cls(
            round(seconds, 2),
            measurement.accuracy,
            latency.p50_ms,
            latency.low_ms,
            latency.high_ms,
            latency.at(percentile),
            spec.key(),
        )


@dataclass(frozen=True)
class Run:
    """One method with one seed.

    Attributes:
        method: Name of the method.
        seed: Of its random choices.
        terms: Of the comparison.
        points: Its finished models, in order.
        counts: Number of trials, by how they ended.
        spent_s: Seconds spent, by kind of work.
        ended_s: When it stopped: before its time was over where it had nothing left to try.
        exhausted: Whether it had nothing left to try.
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
        """Keep the run as `METHOD-SEED.json`.

        Raises:
            StorageError: The disk is full.
        """
        write_json(run_path(folder, self.method, self.seed), asdict(self))


def run_path(folder: Path, method: str, seed: int) -> Path:
    """Return where a run is kept once it has ended."""
    return folder / f"{method}-{seed}.json"


def read_run(path: Path) -> Run:
    """Return the run that `Run.write` kept.

    Raises:
        StorageError: The file holds something else.
    """
    data = read_json(path)
    try:
        points = tuple(Point(**point) for point in data["points"])
        return Run(**{**data, "terms": Terms(**data["terms"]), "points": points})
    except (TypeError, KeyError) as error:
        raise StorageError(f"{path}: not a run of this benchmark ({error}); move it out of the folder") from error


def read_runs(folder: Path) -> list[Run]:
    """Return every run of a comparison that has ended.

    Raises:
        StorageError: One of them is of another comparison.
    """
    found = [read_run(path) for path in sorted(folder.glob("*-*.json"))]
    for run in found[1:]:
        if run.terms != found[0].terms:
            paths = [run_path(folder, r.method, r.seed).name for r in (found[0], run)]
            raise StorageError(f"{folder}: {' and '.join(paths)} were run on other terms; keep one comparison a folder")
    return found
