"""One scale for all milliseconds of a study: each is a measured ratio times what the teacher's file takes today.

The teacher is seen in every measurement, so what it takes at a typical moment is known better from run to run. Ratios
stay as they were measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import StorageError, one_line
from ...evaluators.latency import Calibration, in_scale
from ...evaluators.measurement import Latency
from ...files import read_object
from ...spaces.plain import from_plain
from ...spaces.target import PerTarget
from ..trial import Trial
from .layout import CALIBRATION


@dataclass(frozen=True)
class Scale:
    """What the teacher's file takes on each target, as far as it is known.

    Attributes:
        calibrations: By target.
    """

    calibrations: PerTarget[Calibration] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Path) -> Scale:
        """Return the scale of a study in this folder.

        Raises:
            StorageError: A calibration cannot be read.
        """
        found = {}
        for path in sorted(study.glob(f"targets/*/{CALIBRATION}")):  # a system leaves files of its own in folders
            calibration = read_calibration(path)
            if calibration is not None:
                found[path.parent.name] = calibration
        return cls(found)

    def latencies(self, measured: PerTarget[Latency]) -> PerTarget[Latency]:
        """Return latencies in this scale."""
        known = self.calibrations
        return {n: in_scale(latency, known[n]) if n in known else latency for n, latency in measured.items()}

    def trial(self, trial: Trial) -> Trial:
        """Return a trial with its latencies in this scale."""
        if not trial.gate and not trial.measured:
            return trial
        latencies = self.latencies({name: file.latency for name, file in trial.measured.items()})
        measured = {name: replace(file, latency=latencies[name]) for name, file in trial.measured.items()}
        return replace(trial, gate=self.latencies(trial.gate), measured=measured)


def read_calibration(path: Path) -> Calibration | None:
    """Return what the teacher's file takes on a target, None where that was not measured.

    Args:
        path: The file that says so; see `layout.calibration_path`.

    Raises:
        StorageError: The file cannot be read, or holds something else.
    """
    known = read_object(path)
    try:
        return None if known is None else from_plain(Calibration, known)
    except ValueError as error:
        raise StorageError(
            f"{path}: holds no calibration ({one_line(error)[:100]}); restore it from a copy, or measure all students "
            "anew with --remeasure"
        ) from error
