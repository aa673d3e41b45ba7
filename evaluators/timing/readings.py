"""What timing processes say together of files that took turns in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..measurement import Latency
from ..runtimes.registry import get_runtime
from .moments import Sight
from .processes import ModelTimes, ProcessTimes, TimedFile
from .spread import Spread
from .statistics import (
    Estimate,
    Statistic,
    choose_statistic,
    combine,
    common_statistic,
    log_ratio,
    log_time,
    undisturbed_rounds,
    undisturbed_wall_ms,
)
from .tails import PERCENTILES, tail_of


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

    def times(self, index: int) -> list[ModelTimes]:
        """Return a file's times, one for each process."""
        return [run.models[index] for run in self.runs]

    def conditions(self, index: int) -> dict[str, Any]:
        """Return the machine as it was while a file was measured, in plain JSON types."""
        statistic = self.shared_statistic(index)
        # a machine that counts no CPU time worth the name gives what the wall says for both
        both = (times for run in self.runs for times in (run.models[index], run.reference))
        clock = "wall" if all(np.array_equal(times.cpu_ms, times.wall_ms) for times in both) else statistic.clock
        return {
            **self.facts[index],
            "pressure": _mean([run.pressure for run in self.runs]),
            "queue_share": _mean([run.queue_share for run in self.runs]),
            "cpu_mhz": _mean([run.cpu_mhz for run in self.runs]),
            "gpu_mhz": _mean([run.gpu_mhz for run in self.runs]),
            "statistic": f"{clock} time, {statistic.quantile:.0%} quantile",
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


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(f"{np.mean(known):.4g}") if known else None
