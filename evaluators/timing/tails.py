"""Tails of latency: what a slow inference takes, from all rounds, disturbed ones too, for a deployment sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (90, 95, 99)
CALLS = {50: 0, 90: 80, 95: 160, 99: 800}
"""Percentile -> inferences after which its interval is bounded on both sides by what was seen, with some to spare."""
_SIDE = 0.025


@dataclass(frozen=True)
class Tail:
    """A high percentile over the median, as logarithms.

    Attributes:
        log: Of the percentile over the median.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    log: float
    low: float
    high: float


def tail_of(processes: Sequence[NDArray[np.float64]], percentile: int) -> Tail:
    """Estimate a percentile of times over their median.

    The ends of the interval are order statistics, whose ranks a binomial distribution gives. Calls of one round are
    not independent, so fewer of them count than there are: the number is divided by the variance of the rounds' shares
    of slow calls over that of independent calls (the design effect; Kish 1965). Where too few count for an upper end,
    it lies as far above the slowest call as that lies above the median.

    Args:
        processes: Times [rounds, calls] of each process over that process's median.
        percentile: 90, 95 or 99.
    """
    part = percentile / 100
    calls = np.sort(np.concatenate([times.ravel() for times in processes]))
    value = float(np.quantile(calls, part))
    count = len(calls)
    counted = max(2, int(count / _design_effect(processes, value)))
    ranks = _ranks(counted, part)
    low = float(np.quantile(calls, ranks[0] / counted)) if ranks[0] else float(calls[0])
    most = float(calls[-1])
    high = float(np.quantile(calls, ranks[1] / counted)) if ranks[1] <= counted - 1 else most
    log_high = math.log(high) if ranks[1] <= counted else 2 * max(0.0, math.log(most))
    log = math.log(value)
    return Tail(log, min(log, math.log(low)), max(log, log_high))


def _design_effect(processes: Sequence[NDArray[np.float64]], value: float) -> float:
    shares = np.concatenate([(times > value).mean(axis=1) for times in processes])
    calls = sum(times.size for times in processes) / len(shares)
    share = float(shares.mean())
    alone = share * (1 - share) / calls
    if len(shares) < 2 or alone <= 0:
        return 1.0
    return float(np.clip(shares.var(ddof=1) / alone, 1.0, calls))


def _ranks(count: int, part: float) -> tuple[int, int]:
    """Return ranks 0 to count + 1 between which a quantile lies in 95 of 100 samples of this size."""
    # cumulative binomial probabilities of so many of the sample lying below the quantile
    below = np.arange(count + 1)
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(part) + (count - k) * math.log1p(-part)
        for k in below
    ]  # fmt: skip
    cumulative = np.cumsum(np.exp(logs))
    low = int(np.searchsorted(cumulative, _SIDE, side="right"))
    high = int(np.searchsorted(cumulative, 1 - _SIDE)) + 1
    return low, high
