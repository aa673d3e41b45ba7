"""How many timing processes a measurement takes, and what they say together."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..measurement import Latency
from ..runtimes.registry import get_runtime
from .machine import conditions
from .moments import Sight, now_s
from .processes import ModelTimes, ProcessTimes, TimedFile, TimingRequest, time_in_fresh_process
from .quiet import QuietMachine, lock_name
from .spread import Spread
from .statistics import (
    Estimate,
    Statistic,
    choose_statistic,
    combine,
    common_statistic,
    disturbances,
    log_ratio,
    log_time,
    undisturbed_rounds,
    undisturbed_wall_ms,
)
from .tails import PERCENTILES, tail_of

MATERIAL = 0.02
"""Difference of two log-ratios that is not worth another way to measure."""
MOST_PROCESSES = 7
"""Processes at most when a precision is asked for, unless more are asked for outright."""


@dataclass(frozen=True)
class SideBySide:
    """Times files beside the first of them, in fresh processes.

    Attributes:
        files: The files, each with where it runs.
        seconds: Of timing in each process.
        precision: Half-width of the 95 % interval of the log-ratio at which one process stops early.
        quiet: The lock under which each process runs, by default those of the files' devices.
        seed: Of the order of the rounds.
        floor_ms: The first file's statistic when it was calibrated, None if it never was.
        spread: How much log-ratios differed between processes before.
        calls: Timed inferences of each file in all processes together, at least; see `tails.CALLS`.
    """

    files: tuple[TimedFile, ...]
    seconds: float
    precision: float = 0.02
    quiet: QuietMachine | None = None
    seed: int = 0
    floor_ms: float | None = None
    spread: Spread = field(default_factory=Spread)
    calls: int = 0

    def take(
        self, processes: int, until: float | None = None, limit_seconds: float | None = None, peaks: bool = True
    ) -> Readings:
        """Time the files in fresh processes, and once more, twice as long, for each that was disturbed.

        Args:
            processes: Fresh processes at least.
            until: Half-width that the widest 95 % interval (see `Readings.half_width`) is to have; while it is wider,
                a process is added, up to MOST_PROCESSES in all.
            limit_seconds: No process but the first starts later.
            peaks: Whether to start a process more for the peak memory of a file that no process loaded first.

        Returns:
            The undisturbed processes if they are as many as asked for, else all.

        Raises:
            MeasurementError: A file cannot be timed.
            RuntimeUnavailable: A runtime cannot run here.
        """
        ends = time.monotonic() + (float("inf") if limit_seconds is None else limit_seconds)
        facts = tuple(_conditions(file) for file in self.files)
        statistics = tuple(statistic_of(file) for file in self.files)
        runs: list[ProcessTimes] = []
        sights: list[Sight] = []

        def troubles(runs: Sequence[ProcessTimes]) -> list[str]:
            return [words for run in runs for words in disturbances(run, statistics, self.floor_ms)]

        def given() -> Readings:
            undisturbed = [run for run in runs if not troubles([run])]
            chosen = undisturbed if len(undisturbed) >= processes else runs
            said = tuple(troubles(chosen))
            return Readings(self.files, statistics, tuple(chosen), facts, said, spread=self.spread)

        def time_more(count: int, times_as_long: int = 1) -> None:
            for _ in range(count):
                if not runs or time.monotonic() < ends:
                    runs.append(self._run(len(runs), times_as_long, math.ceil(self.calls / processes)))
                    own = disturbances(runs[-1], statistics)
                    sights.append(_sight(runs[-1], statistics[0], bool(own)))

        time_more(processes)
        again = sum(bool(troubles([run])) for run in runs)
        time_more(again, times_as_long=2)
        if until is not None:
            while len(runs) < max(MOST_PROCESSES, processes) + again and given().half_width() > until:
                if time.monotonic() >= ends:
                    break
                time_more(1)
        readings = given()
        return replace(readings, peaks_mb=self._peaks_mb(runs, peaks), sights=tuple(sights))

    def _run(self, index: int, times_as_long: int, min_calls: int) -> ProcessTimes:
        request = TimingRequest(
            self.files,
            precision=self.precision,
            min_rounds=TimingRequest.min_rounds * times_as_long,
            max_rounds=TimingRequest.max_rounds * times_as_long,
            max_seconds=self.seconds * times_as_long,
            seed=self.seed + index,
            min_calls=min_calls,
        )
        # A lock per process, so that a training waits a second at a time rather than for all of them.
        return self._quietly(request)

    def _quietly(self, request: TimingRequest) -> ProcessTimes:
        with ExitStack() as held:
            devices = sorted({lock_name(file.target.device) for file in request.files})
            locks = [QuietMachine(device) for device in devices] if self.quiet is None else [self.quiet]
            beside = [held.enter_context(lock.measuring()) for lock in locks]
            return replace(time_in_fresh_process(request), beside="; ".join(filter(None, beside)))

    def _peaks_mb(self, runs: Sequence[ProcessTimes], more: bool) -> tuple[float | None, ...]:
        # of each file, from a process that loaded it first; if none did, from one of its own, if more may be started
        peaks = []
        for index, file in enumerate(self.files):
            known = [run.models[index].peak_memory_mb for run in runs]
            if more and all(peak is None for peak in known):
                known = [self._quietly(TimingRequest((file,), max_rounds=0)).reference.peak_memory_mb]
            peaks.append(max((peak for peak in known if peak is not None), default=None))
        return tuple(peaks)


@dataclass(frozen=True)
class Readings:
    """What fresh processes gave for the same files, the reference first.

    Attributes:
        files: The files.
        statistics: What each file is compared by.
        runs: The times of each process.
        facts: The conditions of each file; see `machine.conditions`.
        troubles: What disturbed the processes, in words.
        peaks_mb: Peak memory of each file, None where it is not known.
        spread: How much log-ratios differed between processes before.
        sights: The first file in every process, whether it counts or not.
    """

    files: tuple[TimedFile, ...]
    statistics: tuple[Statistic, ...]
    runs: tuple[ProcessTimes, ...]
    facts: tuple[Mapping[str, Any], ...]
    troubles: tuple[str, ...] = ()
    peaks_mb: tuple[float | None, ...] = field(default=())
    spread: Spread = field(default_factory=Spread)
    sights: tuple[Sight, ...] = ()

    def shared_statistic(self, index: int) -> Statistic:
        """Return what a file is compared with the first by."""
        return common_statistic(self.statistics[index], self.statistics[0])

    def ratio(self, index: int) -> Estimate:
        """Estimate the logarithm of a file's time over the first file's; for the first itself it is 0."""
        if index == 0:
            return Estimate(0.0, 0.0)
        statistic = self.shared_statistic(index)
        return combine([compare(run.models[index], run.reference, statistic) for run in self.runs], self.spread)

    def median_ratio(self, index: int) -> Estimate:
        """Estimate the same of the medians of wall time, from rounds that nothing disturbed for either file."""
        statistic = self.shared_statistic(index)
        found = []
        for run in self.runs:
            file, reference = run.models[index], run.reference
            rounds = undisturbed_rounds(statistic, file, reference)
            found.append(log_ratio(file.wall_ms[rounds], reference.wall_ms[rounds], 0.5))
        return combine(found, self.spread)

    def difference(self, index: int) -> Estimate:
        """Estimate by how much more the medians of wall time say than `ratio` does, both as logarithms of ratios."""
        statistic, differences = self.shared_statistic(index), []
        for run in self.runs:
            file, reference = run.models[index], run.reference
            rounds = undisturbed_rounds(statistic, file, reference)
            middle = log_ratio(file.wall_ms[rounds], reference.wall_ms[rounds], 0.5)
            low = compare(file, reference, statistic)
            differences.append(Estimate(middle.log - low.log, math.hypot(middle.half_width, low.half_width)))
        # of one process each: what differs between processes is in both
        mean = sum(each.log for each in differences) / len(differences)
        return Estimate(mean, math.sqrt(sum(each.half_width**2 for each in differences)) / len(differences))

    def p50(self, index: int) -> Estimate:
        """Estimate the logarithm of a file's median wall time (ms), from undisturbed rounds."""
        undisturbed = (undisturbed_wall_ms(times, self.statistics[index]) for times in self.times(index))
        return combine([log_time(wall, 0.5) for wall in undisturbed])

    def half_width(self) -> float:
        """Return half of the widest interval of the log-ratios; of the first file's median if it is alone."""
        if len(self.files) == 1:
            return self.p50(0).half_width
        return max(self.ratio(index).half_width for index in range(1, len(self.files)))

    def times(self, index: int) -> list[ModelTimes]:
        """Return a file's times, one for each process."""
        return [run.models[index] for run in self.runs]

    def conditions(self, index: int) -> dict[str, Any]:
        """Return the machine as it was while a file was measured, in plain JSON types."""
        statistic = self.shared_statistic(index)
        return {
            **self.facts[index],
            "pressure": _mean([run.pressure for run in self.runs]),
            "queue_share": _mean([run.queue_share for run in self.runs]),
            "cpu_mhz": _mean([run.cpu_mhz for run in self.runs]),
            "gpu_mhz": _mean([run.gpu_mhz for run in self.runs]),
            "statistic": f"{statistic.clock} time, {statistic.quantile:.0%} quantile",
            "disturbances": list(self.troubles),
        }

    def latency(self, index: int, p50: Estimate, ratio: Estimate) -> Latency:
        """Return the latency of a file; tails and mean stand to the median as they did in all rounds.

        Args:
            index: Of the file.
            p50: Its median (ms).
            ratio: Its ratio to the reference.
        """
        runs = self.times(index)
        p50_ms, low_ms, high_ms = p50.interval()
        own = [times.wall_ms / np.median(undisturbed_wall_ms(times, self.statistics[index])) for times in runs]
        tails = {percentile: tail_of(own, percentile) for percentile in PERCENTILES}
        p90, p95, p99 = (math.exp(tails[percentile].log) for percentile in PERCENTILES)
        mean = float(np.concatenate([wall.ravel() for wall in own]).mean())
        value, ratio_low, ratio_high = ratio.interval()
        return Latency(
            p50_ms=p50_ms,
            low_ms=low_ms,
            high_ms=high_ms,
            p90_ms=p50_ms * p90,
            p95_ms=p50_ms * p95,
            p99_ms=p50_ms * p99,
            mean_ms=p50_ms * mean,
            ratio=value,
            ratio_low=ratio_low,
            ratio_high=ratio_high,
            samples=sum(times.wall_ms.size for times in runs),
            warmup=sum(times.warmup for times in runs),
            processes=len(runs),
            disturbed=bool(self.troubles),
            load_ms=float(np.median([times.load_ms for times in runs])),
            peak_memory_mb=self.peaks_mb[index],
            conditions=self.conditions(index),
            energy_mj=_mean([times.energy_mj for times in runs]),
            tails={str(p): (tail.log - tail.low, tail.high - tail.log) for p, tail in tails.items()},
        )


def statistic_of(file: TimedFile) -> Statistic:
    """Return the number by which a file can be compared.

    Raises:
        UnknownName: There is no such runtime.
        PluginError: The runtime's package is broken.
    """
    return choose_statistic(file.target, get_runtime(file.target.runtime).synchronous)


def compare(candidate: ModelTimes, reference: ModelTimes, statistic: Statistic) -> Estimate:
    """Estimate log(candidate / reference) in one process."""
    return log_ratio(statistic.of(candidate), statistic.of(reference), statistic.quantile)


def _sight(run: ProcessTimes, statistic: Statistic, disturbed: bool) -> Sight:
    wall = undisturbed_wall_ms(run.reference, statistic)
    return Sight(now_s(), float(np.median(wall)), statistic.floor_ms(run.reference), disturbed)


def _conditions(file: TimedFile) -> dict[str, Any]:
    return conditions(file.target, get_runtime(file.target.runtime).available().version)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(f"{np.mean(known):.4g}") if known else None
