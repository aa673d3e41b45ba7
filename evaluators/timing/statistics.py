"""The statistics of a latency: which number of a process counts, how sure it is, and what disturbed it.

All estimates are logarithms of times or of ratios, because what disturbs a time multiplies it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ...spaces.target import Target
from .processes import ModelTimes, ProcessTimes
from .spread import Spread, student_t_95

Times = NDArray[np.float64]

_RESAMPLES = 200
_NORMAL_95 = NormalDist().inv_cdf(0.975)

_MOST_QUEUE_SHARE = 0.05
_MOST_SPREAD = 1.15
_MOST_WALL_OVER_CPU = 1.10
_MOST_REFERENCE_DRIFT = 1.10


@dataclass(frozen=True)
class Estimate:
    """An estimate of a logarithm.

    Attributes:
        log: The logarithm of a time (ms) or of a ratio.
        half_width: Of its 95 % interval.
    """

    log: float
    half_width: float

    def interval(self) -> tuple[float, float, float]:
        """Return the value itself (no logarithm) and the lower and upper end of its interval."""
        return (
            math.exp(self.log),
            math.exp(self.log - self.half_width),
            math.exp(self.log + self.half_width),
        )


@dataclass(frozen=True)
class Statistic:
    """The number by which files are compared.

    Attributes:
        clock: "cpu" or "wall".
        quantile: Of that clock's times.
    """

    clock: str
    quantile: float

    def of(self, times: ModelTimes) -> Times:
        """Return the times (ms) it is taken of, [rounds, calls]."""
        return times.cpu_ms if self.clock == "cpu" else times.wall_ms

    def floor_ms(self, times: ModelTimes) -> float:
        """Return this statistic of a file's times."""
        return float(np.quantile(self.of(times), self.quantile))


def choose_statistic(target: Target, synchronous: bool) -> Statistic:
    """Return what files on a target are compared by.

    CPU time does not see other processes take the core away, but means nothing for threads that spin while they wait
    or for work done elsewhere: there the low end of the wall time counts.

    Args:
        target: Where the files run.
        synchronous: Whether the runtime works in the calling process; see `Runtime`.
    """
    if target.device == "cpu" and target.threads == 1 and synchronous:
        return Statistic("cpu", 0.20)
    return Statistic("wall", 0.10)


def common_statistic(one: Statistic, other: Statistic) -> Statistic:
    """Return what two files are compared by: wall time unless CPU time means the same for both."""
    return one if one == other else Statistic("wall", 0.10)


def log_ratio(candidate: Times, reference: Times, quantile: float) -> Estimate:
    """Estimate log(candidate / reference) of one quantile over all calls.

    The interval is a percentile bootstrap over rounds, since calls of one round depend on each other (cluster
    bootstrap; Davison and Hinkley 1997, section 3.8), widened by Student's t for few rounds.

    Args:
        candidate: Times [rounds, calls].
        reference: Times [rounds, calls] of the same rounds.
        quantile: Which quantile, 0 to 1.
    """
    rounds = len(candidate)
    picks = np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))

    def resampled(times: Times) -> Times:
        return np.asarray(np.log(np.quantile(times[picks].reshape(_RESAMPLES, -1), quantile, axis=1)))

    low, high = np.quantile(resampled(candidate) - resampled(reference), (0.025, 0.975))
    widened = student_t_95(max(rounds - 1, 3)) / _NORMAL_95
    log = math.log(np.quantile(candidate, quantile)) - math.log(np.quantile(reference, quantile))
    return Estimate(log, float(high - low) / 2 * widened)


def log_time(times: Times, quantile: float) -> Estimate:
    """Estimate the logarithm of one quantile of times (ms), [rounds, calls]; see `log_ratio` for the interval."""
    return log_ratio(times, np.ones_like(times), quantile)


def combine(estimates: Sequence[Estimate], known: Spread | None = None) -> Estimate:
    """Return the mean of several processes' estimates of the same thing.

    Its interval is the wider of that within processes and that between them: a t-interval whose variance is moderated
    by what is known of processes anyway (Smyth 2004, doi:10.2202/1544-6115.1027), because two or three processes cannot
    tell their own variance. One process alone gets both added in quadrature.

    Args:
        estimates: One for each process.
        known: How much such estimates differed between processes before; see `spread`.
    """
    count = len(estimates)
    logs = [estimate.log for estimate in estimates]
    within = math.sqrt(sum(estimate.half_width**2 for estimate in estimates)) / count
    between = ((known or Spread()) + Spread.between(logs)).half_width() / math.sqrt(count)
    return Estimate(sum(logs) / count, math.hypot(within, between) if count == 1 else max(within, between))


def undisturbed_rounds(statistic: Statistic, *files: ModelTimes) -> NDArray[np.bool_]:
    """Return which rounds nothing disturbed for any of these files, [rounds]; all if those are under a third."""
    found = np.ones(len(files[0].queue_share), dtype=bool)
    for times in files:
        found &= ~(times.queue_share > _MOST_QUEUE_SHARE)
        if statistic.clock == "cpu":
            found &= np.median(times.wall_ms / times.cpu_ms, axis=1) <= _MOST_WALL_OVER_CPU
    return found if found.mean() >= 1 / 3 else np.ones_like(found)


def undisturbed_wall_ms(times: ModelTimes, statistic: Statistic) -> Times:
    """Return wall times [rounds, calls] of the rounds that nothing disturbed; see `undisturbed_rounds`."""
    return times.wall_ms[undisturbed_rounds(statistic, times)]


def disturbances(
    process: ProcessTimes, statistics: Sequence[Statistic], reference_floor_ms: float | None = None
) -> list[str]:
    """Return what shows that other work ran on the cores of a process, in words; empty if nothing does.

    Args:
        process: Its times.
        statistics: One for each file.
        reference_floor_ms: The reference's statistic when it was calibrated, None if it never was.
    """
    found = [process.beside] if process.beside else []
    pairs = list(zip(process.models, statistics, strict=True))
    share = process.queue_share or 0.0
    if share > _MOST_QUEUE_SHARE:
        found.append(f"waited {share:.0%} of the time for a core")
    spread, by = max(
        ((float(np.median(s.of(t))) / s.floor_ms(t), s) for t, s in pairs), key=lambda spread_by: spread_by[0]
    )
    if spread > _MOST_SPREAD:
        found.append(f"median {spread:.2f} x the {by.quantile:.0%} quantile of {by.clock} time")
    excess = [float(np.median(t.wall_ms) / np.median(t.cpu_ms)) for t, s in pairs if s.clock == "cpu"]
    if excess and max(excess) > _MOST_WALL_OVER_CPU:
        found.append(f"wall time {max(excess):.2f} x CPU time")
    if reference_floor_ms is not None:
        drift = statistics[0].floor_ms(process.reference) / reference_floor_ms
        if drift > _MOST_REFERENCE_DRIFT:
            found.append(f"reference {drift:.2f} x as slow as when calibrated")
    return found
