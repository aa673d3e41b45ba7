"""Latency of files on this machine, comparable between hours: each measured beside one fixed reference file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import MeasurementError
from ..spaces.target import Target
from .machine import conditions, fingerprint
from .measurement import Latency
from .quiet import QuietMachine
from .runtimes.registry import get_runtime
from .statistics import Estimate, Statistic, calm_wall_ms, choose_statistic, combine, disturbances, log_ratio, log_time
from .timing import ModelTimes, ProcessTimes, TimingRequest, time_in_fresh_process


@dataclass(frozen=True)
class Calibration:
    """The reference's own time in a quiet window. p50_ms: median wall time with its 95 % interval. floor_ms: the
    statistic files are compared by. fingerprint: of the conditions, see `machine.fingerprint`."""

    p50_ms: float
    low_ms: float
    high_ms: float
    floor_ms: float
    processes: int
    disturbed: bool
    fingerprint: str
    conditions: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        return cls(**data)


@dataclass(frozen=True)
class LatencyMeter:
    """Measures files on a target, beside the file `reference`.

    precision: half-width of the 95 % interval of the log-ratio at which one process stops early. quiet: the lock
    under which each process runs, by default that of the target's device. seed: of the order of the rounds.
    """

    target: Target
    reference: Path
    calibration: Calibration | None = None
    precision: float = 0.02
    quiet: QuietMachine | None = None
    seed: int = 0

    @classmethod
    def calibrated(cls, target: Target, reference: Path, precision: float = 0.02) -> LatencyMeter:
        """A meter that has just calibrated itself. Raises as `calibrate` does."""
        meter = cls(target, reference, precision=precision)
        return replace(meter, calibration=meter.calibrate())

    def conditions(self) -> dict[str, Any]:
        """The machine as it is now, see `machine.conditions`."""
        return conditions(self.target, get_runtime(self.target.runtime).available().version)

    def is_current(self) -> bool:
        """Whether the calibration holds for the machine as it is now."""
        return self.calibration is not None and self.calibration.fingerprint == fingerprint(self.conditions())

    def calibrate(self, processes: int = 3, max_seconds: float = 3.0) -> Calibration:
        """Time the reference alone in fresh processes, once more for each that was disturbed.
        Raises MeasurementError, RuntimeUnavailable."""
        runs, facts = self.run_beside((), processes, max_seconds)
        statistic = self.statistic()
        p50_ms, low_ms, high_ms = wall_median([run.reference for run in runs], statistic).interval()
        return Calibration(
            p50_ms=p50_ms,
            low_ms=low_ms,
            high_ms=high_ms,
            floor_ms=float(np.median([statistic.floor_ms(run.reference) for run in runs])),
            processes=len(runs),
            disturbed=bool(facts["disturbances"]),
            fingerprint=fingerprint(self.conditions()),
            conditions=facts,
        )

    def measure(self, paths: Sequence[Path], processes: int = 1, max_seconds: float = 1.0) -> list[Latency]:
        """Latencies of `paths`, in their order; all take turns in the same rounds.

        processes: fresh processes, one after the other; the interval shrinks with their number. max_seconds: of
        timing per file and process. Processes that were disturbed are run once more, twice as long; if that is no
        better, the result counts all of them and is marked disturbed. Raises MeasurementError (a file cannot be
        timed, the meter is not calibrated, or was on another machine) and RuntimeUnavailable.
        """
        calibration = self.calibration
        if calibration is None:
            raise MeasurementError(f"{self.reference}: the meter is not calibrated; call calibrate() first")
        if not self.is_current():
            raise MeasurementError(
                f"{self.reference}: calibrated under other conditions ({calibration.fingerprint}) than today's "
                f"({fingerprint(self.conditions())}): machine, runtime, threads or batch; calibrate again"
            )
        runs, facts = self.run_beside(paths, processes, max_seconds * len(paths))
        statistic = self.statistic()
        half_width = math.log(calibration.high_ms / calibration.low_ms) / 2
        reference_p50 = Estimate(math.log(calibration.p50_ms), half_width)
        latencies = []
        for index in range(len(paths)):
            ratio = combine([compare(run.candidates[index], run.reference, statistic) for run in runs])
            p50 = Estimate(ratio.log + reference_p50.log, math.hypot(ratio.half_width, reference_p50.half_width))
            latencies.append(summary([run.candidates[index] for run in runs], p50, ratio, statistic, facts))
        return latencies

    def statistic(self) -> Statistic:
        """The number files are compared by on this target."""
        return choose_statistic(self.target, get_runtime(self.target.runtime).synchronous)

    def run_beside(
        self, paths: Sequence[Path], processes: int, seconds: float
    ) -> tuple[list[ProcessTimes], dict[str, Any]]:
        """Time `paths` beside the reference in fresh processes of `seconds` each, and once more, twice as long,
        for each that was disturbed. Gives the calm ones if they are as many as asked, else all; and the
        conditions, with the disturbances of what it gives, in words."""
        facts = self.conditions()
        statistic = self.statistic()
        floor_ms = self.calibration.floor_ms if self.calibration else None

        def troubles(runs: Sequence[ProcessTimes]) -> list[str]:
            return [words for run in runs for words in disturbances(run, statistic, floor_ms)]

        runs = [self._run(paths, index, seconds, rounds_times=1) for index in range(processes)]
        again = sum(bool(troubles([run])) for run in runs)
        runs += [self._run(paths, processes + index, 2 * seconds, rounds_times=2) for index in range(again)]
        calm = [run for run in runs if not troubles([run])]
        given = calm if len(calm) >= processes else runs
        named = f"{statistic.clock} time, {statistic.quantile:.0%} quantile"
        return given, {**facts, "statistic": named, "disturbances": troubles(given)}

    def _run(self, paths: Sequence[Path], index: int, seconds: float, rounds_times: int) -> ProcessTimes:
        request = TimingRequest(
            reference=str(self.reference),
            candidates=tuple(map(str, paths)),
            **asdict(self.target),
            precision=self.precision,
            min_rounds=TimingRequest.min_rounds * rounds_times,
            max_rounds=TimingRequest.max_rounds * rounds_times,
            max_seconds=seconds,
            seed=self.seed + index,
        )
        # A lock per process, so that a training waits a second at a time rather than for all of them.
        with (self.quiet or QuietMachine(self.target.device)).measuring():
            return time_in_fresh_process(request)


def is_faster(a: Latency, b: Latency) -> Literal["faster", "slower", "tie"]:
    """Whether `a` is faster than `b`, by their ratios to the same reference: a tie if the intervals overlap."""
    if a.ratio_high < b.ratio_low:
        return "faster"
    return "slower" if a.ratio_low > b.ratio_high else "tie"


def compare(candidate: ModelTimes, reference: ModelTimes, statistic: Statistic) -> Estimate:
    """log(candidate / reference) in one process."""
    return log_ratio(statistic.of(candidate), statistic.of(reference), statistic.quantile)


def wall_median(runs: Sequence[ModelTimes], statistic: Statistic) -> Estimate:
    """log of the median wall time (ms) of one file over processes, from calm rounds."""
    return combine([log_time(calm_wall_ms(times, statistic), 0.5) for times in runs])


def summary(
    runs: Sequence[ModelTimes], p50: Estimate, ratio: Estimate, statistic: Statistic, facts: Mapping[str, Any]
) -> Latency:
    """The Latency of one file: tails and mean stand to the median as they did in the calm rounds."""
    p50_ms, low_ms, high_ms = p50.interval()
    own = [wall / np.median(wall) for wall in (calm_wall_ms(times, statistic) for times in runs)]
    relative = np.concatenate([wall.ravel() for wall in own])
    p90, p95, p99 = (float(x) for x in np.quantile(relative, (0.90, 0.95, 0.99)))
    value, ratio_low, ratio_high = ratio.interval()
    return Latency(
        p50_ms=p50_ms,
        low_ms=low_ms,
        high_ms=high_ms,
        p90_ms=p50_ms * p90,
        p95_ms=p50_ms * p95,
        p99_ms=p50_ms * p99,
        mean_ms=p50_ms * float(relative.mean()),
        ratio=value,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        samples=sum(times.wall_ms.size for times in runs),
        warmup=sum(times.warmup for times in runs),
        processes=len(runs),
        disturbed=bool(facts["disturbances"]),
        load_ms=float(np.median([times.load_ms for times in runs])),
        peak_memory_mb=max(times.peak_memory_mb for times in runs),
        conditions=dict(facts),
    )
