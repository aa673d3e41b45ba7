"""Ranges of activations from their histograms: where 8 bits lose least, if not from the least to the largest value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 2048
LEVELS = 256
"""Of a number in 8 bits."""
STEPS = 60
"""Ranges that a search tries, from the whole one down to a sixtieth of it."""


@dataclass(frozen=True)
class Histogram:
    """How often values lie where, over a range that holds 0.

    Attributes:
        low: Lower end of the first bin, at most 0.
        high: Upper end of the last bin, at least 0.
        counts: Values other than 0 in each of the bins, [BINS], which are of one width.
        zeros: Values that are exactly 0. They lie on the grid of every range, and lose nothing.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    zeros: int = 0

    @staticmethod
    def over(low: float, high: float) -> Histogram:
        """Return one without values, over a range and 0."""
        return Histogram(min(low, 0.0), max(high, 0.0), np.zeros(BINS, np.int64))

    def with_values(self, values: NDArray[np.float32]) -> Histogram:
        """Return one that counts these values too; those outside of the range are counted at its ends."""
        if self.width <= 0:
            return self
        flat = values.ravel()
        places = ((flat - np.float32(self.low)) * np.float32(1 / self.width)).clip(0, BINS - 1).astype(np.int32)
        counts = np.bincount(places, minlength=BINS)
        zeros = flat.size - int(np.count_nonzero(flat))
        counts[min(BINS - 1, int(-self.low / self.width))] -= zeros
        return Histogram(self.low, self.high, self.counts + counts.clip(0), self.zeros + zeros)

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / BINS

    @property
    def centres(self) -> NDArray[np.float64]:
        """Of the bins, [BINS]."""
        return np.asarray(self.low + (np.arange(BINS) + 0.5) * self.width, np.float64)


def percentile(share: float) -> Callable[[Histogram], tuple[float, float]]:
    """Return what finds the range beyond which, at either end, no more than the rest of a share of all values lies."""

    def found(histogram: Histogram) -> tuple[float, float]:
        counts = histogram.counts.astype(np.float64)
        counts[min(BINS - 1, int(-histogram.low / histogram.width))] += histogram.zeros
        beyond = (1 - share) * counts.sum()
        first = int(np.searchsorted(counts.cumsum(), beyond, side="right"))
        last = BINS - int(np.searchsorted(counts[::-1].cumsum(), beyond, side="right"))
        return histogram.low + first * histogram.width, histogram.low + last * histogram.width

    return found


def least_square(histogram: Histogram) -> tuple[float, float]:
    """Return the range over which 8 bits have the least squared error.

    Inside the range values are off by what rounding to the nearest step costs on average, a twelfth of its square;
    outside by how far they are from its end. The ends are searched in turns.
    """
    low, high = histogram.low, histogram.high
    for _ in range(2):
        if histogram.high > 0:
            high = min(_tried(histogram.high), key=lambda end: _squared_error(histogram, low, end))
        if histogram.low < 0:
            low = min(_tried(histogram.low), key=lambda end: _squared_error(histogram, end, high))
    return low, high


def least_divergence(histogram: Histogram) -> tuple[float, float]:
    """Return the range whose 8 bits say most of how values are distributed.

    It has the least Kullback-Leibler divergence of the distribution, cut off at the ends of the range, from the same
    in steps of 8 bits (Migacz 2017, "8-bit inference with TensorRT"). Both ends are moved by one factor.
    """
    factors = [k / STEPS for k in range(STEPS, 0, -1) if k / STEPS * BINS >= LEVELS]
    best = min(factors, key=lambda factor: _divergence(histogram, factor))
    return histogram.low * best, histogram.high * best


HISTOGRAM_METHODS: Mapping[str, Callable[[Histogram], tuple[float, float]]] = {
    "percentile-99.99": percentile(0.9999),
    "percentile-99.9": percentile(0.999),
    "entropy": least_divergence,
    "mse": least_square,
}
"""Name of a method -> what finds a range by it."""


def clipped(histogram: Histogram, method: str) -> tuple[float, float]:
    """Return the range that a method finds, which holds 0; the whole one where there is nothing to choose.

    Args:
        histogram: Of all values.
        method: One of `HISTOGRAM_METHODS`.
    """
    if histogram.width <= 0 or not histogram.counts.any():
        return histogram.low, histogram.high
    low, high = HISTOGRAM_METHODS[method](histogram)
    low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if high > low else (histogram.low, histogram.high)


def _tried(end: float) -> list[float]:
    return [end * k / STEPS for k in range(STEPS, 0, -1)]  # the whole one first: it wins a tie


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    centres = histogram.centres
    beyond = np.maximum(low - centres, 0) + np.maximum(centres - high, 0)
    step = (high - low) / (LEVELS - 1)
    each = np.where(beyond > 0, beyond**2, step**2 / 12)
    return float((histogram.counts * each).sum())


def _divergence(histogram: Histogram, factor: float) -> float:
    first = round(-histogram.low * (1 - factor) / histogram.width)
    last = BINS - round(histogram.high * (1 - factor) / histogram.width)
    inside = histogram.counts[first:last].astype(np.float64)
    held = inside.copy()
    held[0] += histogram.counts[:first].sum()
    held[-1] += histogram.counts[last:].sum()
    levels = np.arange(len(inside)) * LEVELS // len(inside)
    filled = np.bincount(levels, inside > 0, LEVELS)
    spread = np.bincount(levels, inside, LEVELS) / np.maximum(filled, 1)
    steps = np.where(inside > 0, spread[levels], 0.0)
    if not inside.any():
        return float("inf")
    there = held > 0
    wanted, got = held / held.sum(), np.maximum(steps / steps.sum(), 1e-9)
    return float((wanted[there] * np.log(wanted[there] / got[there])).sum())
