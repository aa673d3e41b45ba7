"""How well a figure that is known before a training orders students by how they end."""

from __future__ import annotations

import statistics

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
RESAMPLES = 2000


def tau(predicted: Numbers, final: Numbers, same: NDArray[np.bool_], counts: Numbers) -> float:
    """Return Kendall's tau-b over some pairs of plans, the mean over seeds.

    Args:
        predicted: [seeds, N].
        final: [seeds, N].
        same: [N, N], the pairs that count.
        counts: [N], how often each plan is in a resample; a plan makes no pair with itself.
    """
    weight = np.triu(np.outer(counts, counts) * same, 1)
    found = []
    for x, y in zip(predicted, final, strict=True):
        dx, dy = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
        untied = float((weight * dx * dx).sum() * (weight * dy * dy).sum())
        found.append(float((weight * dx * dy).sum()) / untied**0.5 if untied else 0.0)
    return statistics.mean(found)


def tau_with_interval(predicted: Numbers, final: Numbers, same: NDArray[np.bool_]) -> str:
    """Return `tau` with its 95 % bootstrap interval over plans, in words."""
    count = final.shape[1]
    resamples = np.random.default_rng(0).multinomial(count, [1 / count] * count, RESAMPLES // 4).astype(float)
    low, high = np.quantile([tau(predicted, final, same, counts) for counts in resamples], (0.025, 0.975))
    return f"{tau(predicted, final, same, np.ones(count)):5.2f} ({low:5.2f} to {high:5.2f})"


def lost_by(predicted: Numbers, final: Numbers, bands: NDArray[np.int64]) -> float:
    """Return what taking the favourite of each band costs, in points of 100; the mean over bands and seeds.

    It is the final accuracy of the best of a band less that of what `predicted` puts first there, or the mean of all
    that it puts first.

    Args:
        predicted: [seeds, N].
        final: [seeds, N].
        bands: [N].
    """
    owns = [bands == band for band in np.unique(bands)]
    both = [(x[own], y[own]) for x, y in zip(predicted, final, strict=True) for own in owns]
    return 100 * statistics.mean(float(y.max() - y[x == x.max()].mean()) for x, y in both)


def mean_with_interval(values: Numbers) -> str:
    """Return the mean with its 95 % bootstrap interval, in words."""
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"
