"""What a bundle says of its models, as `measurement.json` keeps it. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BundleError, one_line
from ...evaluators.measurement import Latency, fusion_in_words
from ...files import read_json, write_json
from ...spaces.plain import from_plain, to_plain
from ...spaces.target import PerTarget, Target

FORMAT = 1
"""Of a bundle."""

TOLERANCES = {32: 1e-3, 16: 0.02, 8: 0.05, 4: 0.05}
"""Fewest bits of a model -> largest difference of its answers on another machine, relative to the largest answer.

Other kernels add up in another order; where numbers are rounded to few bits, some come to lie in the next step.
"""


@dataclass(frozen=True)
class Figure:
    """A metric over a split.

    Attributes:
        value: In the metric's own units.
        low: Lower end of its 95 % interval, None where no interval is known.
        high: Upper end.
        examples: Of the split, None where that is not known.
    """

    value: float
    low: float | None = None
    high: float | None = None
    examples: int | None = None

    def holds(self, value: float) -> bool:
        """Tell whether another value of the same metric lies within the interval; within 1 % where none is known."""
        if self.low is None or self.high is None:
            return abs(value - self.value) <= 0.01 * abs(self.value)
        return self.low <= value <= self.high


@dataclass(frozen=True)
class FileRecord:
    """One model file.

    Attributes:
        file: Its path in the bundle, with slashes.
        sha256: See `files.digest`.
        size_bytes: As it lies on disk.
        compressed_bytes: After Zstandard compression.
        target: Where it was measured.
        validation: The file's metric, run by its runtime.
        latency: Of one inference.
        operators: Operator type -> count, of the graph that really runs.
        tolerance: Largest difference of its answers to the samples, relative to the largest.
        remark: Where that graph is not what was asked for.
        written: Operator type -> count, of the file, before the runtime rewrites it; empty where that is not known.
        calibration: Method by which the ranges of 8-bit activations were found; empty where there are none, and in
            bundles of older versions.
    """

    file: str
    sha256: str
    size_bytes: int
    compressed_bytes: int
    target: Target
    validation: Figure
    latency: Latency
    operators: Mapping[str, int]
    tolerance: float
    remark: str = ""
    written: Mapping[str, int] = field(default_factory=dict)
    calibration: str = ""

    @property
    def operators_in_words(self) -> str:
        """How many operators the file has, and how many the runtime makes of them; empty where that is not known."""
        return fusion_in_words(self.written, self.operators)


@dataclass(frozen=True)
class SampleRecord:
    """The sample inputs of a bundle.

    Attributes:
        split: Where they were taken from; never the test split.
        rows: Their places in it.
        inputs: Names of the network's inputs, in their order.
        answered: When and where the expected answers were computed.
    """

    split: str
    rows: tuple[int, ...]
    inputs: tuple[str, ...]
    answered: str


@dataclass(frozen=True)
class Record:
    """Everything that was measured of a bundle's models.

    Attributes:
        study: Name of the study.
        trial: Number of the trial.
        origin: Who proposed it, as tables show it.
        kind: Of the task; empty where it brings losses and metric of its own.
        metric: Name and direction of the metric.
        validation: The metric of the worst of these files.
        test: The same on the test split, None where it was not scored.
        teacher: The metric of the teacher's own file on the validation split, None where it was not measured; of its
            files for the same targets, the worst.
        speed_up: How many times faster than the teacher's file for the same target the first of these files is. None
            where that was not known, in bundles of older versions.
        speed_up_interval: Its 95 % interval.
        files: The files, by target.
        samples: The sample inputs, None where the study kept none.
        format: Of the bundle.
    """

    study: str
    trial: int
    origin: str
    kind: str
    metric: Mapping[str, str]
    validation: Figure
    test: Figure | None
    teacher: Figure | None
    speed_up: float | None
    speed_up_interval: tuple[float, float] | None
    files: PerTarget[FileRecord]
    samples: SampleRecord | None
    format: int = field(default=FORMAT)


def write_record(folder: Path, record: Record) -> None:
    """Write `measurement.json` into a bundle.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    write_json(folder / "measurement.json", to_plain(record))


def read_record(folder: Path) -> Record:
    """Return what a bundle says of its models.

    Raises:
        BundleError: There is no bundle, or another version wrote it.
        StorageError: The file cannot be read.
    """
    path = folder / "measurement.json"
    kept: Any = read_json(path)
    if kept is None:
        raise BundleError(f"no bundle in {folder}: it has no measurement.json; give a folder that `pick --out` wrote")
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise BundleError(f"{path}: not of format {FORMAT}, which this version reads; use the version that wrote it")
    try:
        return from_plain(Record, kept)
    except ValueError as error:
        raise BundleError(f"{path}: holds no measurement ({one_line(error)[:120]}); restore it from a copy") from error
