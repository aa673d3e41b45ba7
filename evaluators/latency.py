"""Latency of files on this machine, comparable between hours: each measured beside one fixed reference file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ConditionsChanged, MeasurementError
from ..spaces.target import Target
from .measurement import Latency
from .runtimes.registry import get_runtime
from .timing.machine import changes, conditions, fingerprint
from .timing.processes import TimedFile
from .timing.quiet import QuietMachine
from .timing.side_by_side import SideBySide
from .timing.statistics import Estimate


@dataclass(frozen=True)
class Calibration:
    """The reference's own time in a quiet window.

    Attributes:
        p50_ms: Median wall time of one inference.
        low_ms: Lower end of its 95 % interval.
        high_ms: Upper end of that interval.
        floor_ms: The statistic by which files are compared.
        processes: Fresh processes it was measured in.
        disturbed: Whether other work was seen on the machine's cores meanwhile.
        fingerprint: Of the conditions; see `machine.fingerprint`.
        conditions: The machine as it was.
    """

    p50_ms: float
    low_ms: float
    high_ms: float
    floor_ms: float
    processes: int
    disturbed: bool
    fingerprint: str
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyMeter:
    """Measures files on a target, beside a reference.

    Attributes:
        target: Where the files run.
        reference: The file that all others are compared with.
        calibration: The reference's own time, None before it was measured.
        precision: Half-width of the 95 % interval of the log-ratio at which one process stops early.
        quiet: The lock under which each process runs, by default that of the target's device.
        seed: Of the order of the rounds.
        inputs: A file of real inputs that files are timed on; see `TimedFile`.
    """

    target: Target
    reference: Path
    calibration: Calibration | None = None
    precision: float = 0.02
    quiet: QuietMachine | None = None
    seed: int = 0
    inputs: Path | None = None

    @classmethod
    def calibrated(
        cls, target: Target, reference: Path, precision: float = 0.02, inputs: Path | None = None
    ) -> LatencyMeter:
        """Return a meter that has just calibrated itself; see the class, and `calibrate` for what it raises."""
        meter = cls(target, reference, precision=precision, inputs=inputs)
        return replace(meter, calibration=meter.calibrate())

    def conditions(self) -> dict[str, Any]:
        """Return the machine as it is now; see `machine.conditions`."""
        return conditions(self.target, get_runtime(self.target.runtime).available().version)

    def is_current(self) -> bool:
        """Return whether the calibration holds for the machine as it is now."""
        return self.calibration is not None and self.calibration.fingerprint == fingerprint(self.conditions())

    def what_changed(self) -> str:
        """Return how the machine differs from what it was when it was calibrated, in words."""
        if self.calibration is None:
            return "it was not calibrated"
        return changes(self.calibration.conditions, self.conditions()) or "their record"

    def calibrate(self, processes: int = 3, max_seconds: float = 3.0) -> Calibration:
        """Time the reference alone in fresh processes, once more for each that was disturbed.

        Args:
            processes: Fresh processes, one after the other.
            max_seconds: Of timing in each.

        Raises:
            MeasurementError: The reference cannot be timed.
            RuntimeUnavailable: The runtime cannot run here.
        """
        readings = self._beside((), max_seconds).take(processes, peaks=False)
        p50_ms, low_ms, high_ms = readings.p50(0).interval()
        return Calibration(
            p50_ms=p50_ms,
            low_ms=low_ms,
            high_ms=high_ms,
            floor_ms=float(np.median([readings.statistics[0].floor_ms(times) for times in readings.times(0)])),
            processes=len(readings.runs),
            disturbed=bool(readings.troubles),
            fingerprint=fingerprint(self.conditions()),
            conditions=readings.conditions(0),
        )

    def measure(
        self,
        paths: Sequence[Path],
        processes: int = 1,
        max_seconds: float = 1.0,
        until: float | None = None,
        limit_seconds: float | None = None,
    ) -> list[Latency]:
        """Measure files, which take turns in the same rounds.

        Processes that were disturbed are run once more, twice as long; if that is no better, the result counts all of
        them and is marked disturbed.

        Args:
            paths: The files.
            processes: Fresh processes, one after the other; the interval shrinks with their number.
            max_seconds: Of timing per file and process.
            until: Half-width of the 95 % interval to reach for every ratio, by more processes (up to
                `side_by_side.MOST_PROCESSES`). Whether it was reached is in the ratios' intervals.
            limit_seconds: No process but the first starts later.

        Returns:
            Their latencies, in their order.

        Raises:
            MeasurementError: A file cannot be timed, or the meter is not calibrated.
            ConditionsChanged: The meter is calibrated for another machine than this is now.
            RuntimeUnavailable: The runtime cannot run here.
        """
        calibration = self.calibration
        if calibration is None:
            raise MeasurementError(f"{self.reference}: the meter is not calibrated; call calibrate() first")
        if not self.is_current():
            raise ConditionsChanged(
                f"{self.reference}: calibrated under other conditions than now: {self.what_changed()}; put it back, or "
                "calibrate again"
            )
        # one process is a quick look: it is not worth another for the memory of what it loaded second
        beside = self._beside(paths, max_seconds * len(paths))
        readings = beside.take(processes, until, limit_seconds, peaks=processes > 1)
        half_width = math.log(calibration.high_ms / calibration.low_ms) / 2
        reference_p50 = Estimate(math.log(calibration.p50_ms), half_width)
        latencies = []
        for index in range(1, len(paths) + 1):
            ratio = readings.ratio(index)
            p50 = Estimate(ratio.log + reference_p50.log, math.hypot(ratio.half_width, reference_p50.half_width))
            latencies.append(readings.latency(index, p50, ratio))
        return latencies

    def _beside(self, paths: Sequence[Path], seconds: float) -> SideBySide:
        return SideBySide(
            tuple(TimedFile(path, self.target, self.inputs) for path in (self.reference, *paths)),
            seconds,
            precision=self.precision,
            quiet=self.quiet,
            seed=self.seed,
            floor_ms=self.calibration.floor_ms if self.calibration else None,
        )


def is_faster(a: Latency, b: Latency) -> Literal["faster", "slower", "tie"]:
    """Return how `a` compares with `b`, by their ratios to the same reference: a tie if the intervals overlap."""
    if a.ratio_high < b.ratio_low:
        return "faster"
    return "slower" if a.ratio_low > b.ratio_high else "tie"
