"""What comes of exporting a student for several targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..evaluators.measurement import Latency
from ..evaluators.shipping import MeasuredFile
from ..spaces.spec import StudentSpec
from ..studies.metric import ACCURACY, MetricLabel


@dataclass(frozen=True)
class Exported:
    """What came of one target. What could not be had is None, and `reason` says why.

    Attributes:
        target: Name of the target.
        path: The file; None where none was built.
        sha256: Of the file.
        size_bytes: Of the file.
        bits: Layer name -> bit-width of the student as this target runs it, for layers that are not 32.
        difference: Largest absolute difference from the student's outputs, relative to the largest output (at least
            1), over `SAMPLES` inputs.
        agreement: Part of those inputs on which file and student choose the same class; None where they choose none.
        accuracy: Metric of the file in its own units, run by its own runtime over the validation split.
        accuracy_sd: Standard error of it by resampling examples; None of shares of right answers.
        metric: Name of the metric.
        latency: Of one inference; its ratio is to the teacher's file on the study's first target, or to the first of
            the files that runs where the teacher's does not.
        beside: What the teacher's file took in the same rounds, None where it does not run here.
        operators: Operator type -> count, of the graph that really runs.
        written: The same of the file, before the runtime rewrites it; empty where that is not known.
        remark: Where that graph is not what was asked for.
        reason: Why something could not be had.
    """

    target: str
    path: Path | None = None
    sha256: str = ""
    size_bytes: int = 0
    bits: Mapping[str, int] = field(default_factory=dict)
    difference: float | None = None
    agreement: float | None = None
    accuracy: float | None = None
    accuracy_sd: float | None = None
    metric: str = "accuracy"
    latency: Latency | None = None
    beside: Latency | None = None
    operators: Mapping[str, int] = field(default_factory=dict)
    written: Mapping[str, int] = field(default_factory=dict)
    remark: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Exports:
    """What came of all targets, beside the teacher.

    Attributes:
        files: One for each target.
        teacher: The teacher's file on the study's first target, measured beside the first of `files` that runs; None
            where none does.
        label: How the metric is shown.
        examples: Of the validation split, where the metric is the share of them that is right; else 0.
        least: Metric that the study asks for, as a search keeps it; None where it asks for none.
    """

    files: tuple[Exported, ...]
    teacher: MeasuredFile | None = None
    label: MetricLabel = ACCURACY
    examples: int = 0
    least: float | None = None

    def measured(self) -> list[MeasuredFile]:
        """Return the teacher and what came of each target, as they stand beside each other."""
        found = [] if self.teacher is None else [self.teacher]
        for entry in self.files:
            quality = None if entry.accuracy is None else self.label.kept(entry.accuracy)
            found.append(MeasuredFile(entry.target, entry.latency, entry.size_bytes, quality, entry.accuracy_sd))
        return found


def known_ranges_remark(asked: Mapping[str, str], spec: StudentSpec) -> str:
    """Return how many layers have known ranges in place of what was asked for, empty for none.

    Args:
        asked: Layer name -> how its activations were to be quantized, where not over known ranges.
        spec: What the target runs of it.
    """
    gone = [way for layer, way in asked.items() if spec.bits.get(layer, 32) < 16 and layer not in spec.activations]
    ways = " or ".join(dict.fromkeys(gone))
    layers = f"{len(gone)} layer{'s' * (len(gone) > 1)}"
    return f"{layers} over ranges from calibration: this target has no {ways} activations" if gone else ""
