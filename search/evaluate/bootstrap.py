"""How sure a metric is that is no share of right answers: by resampling the examples that it was taken over."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from ...compression.seeds import seeded_generator
from ...errors import MetricError
from ...studies.metric import SHARES, Metric

FEWEST, MOST = 20, 100
Z95 = 1.959964
"""Of the normal distribution, for intervals of 95 %."""
SECONDS = 2.0
COPIED_BYTES = 2**28
"""The most that one resample of the outputs takes in memory; of larger ones it has fewer examples."""


def standard_error(metric: Metric, outputs: Tensor, labels: Tensor, seconds: float = SECONDS) -> float | None:
    """Return the standard deviation of a metric over resamples of its examples (Efron 1979, Ann. Stat. 7, p. 1).

    Resamples of fewer examples vary by the root of that more, which is taken out (Bickel et al. 1997, Stat. Sinica 7).
    Where all is right, none of them knows an error: such a score is as sure as a share of so many examples that are all
    right (Wilson 1927, JASA 22, p. 209).

    Args:
        metric: The metric.
        outputs: Of a file, [N, ...].
        labels: [N, ...].
        seconds: After these, no resample begins.

    Returns:
        The standard deviation; None for shares, whose interval is known anyway, and where too few resamples came to
        their end.
    """
    if metric.function in SHARES or len(outputs) < 2:
        return None
    generator, ends, values = seeded_generator("bootstrap"), time.monotonic() + seconds, []
    count = max(2, min(len(outputs), COPIED_BYTES // max(1, outputs[0].nbytes)))
    for _ in range(MOST):
        if time.monotonic() > ends:
            break
        rows = torch.randint(len(outputs), (count,), generator=generator)
        try:
            values.append(metric.value(outputs[rows], labels[rows]))
        except MetricError:
            return None  # it is not defined for every choice of examples
    if len(values) < FEWEST:
        return None
    if metric.label.maximized and set(values) == {1.0}:
        return Z95 / (len(outputs) + Z95**2)
    return float(torch.tensor(values, dtype=torch.float64).std()) * math.sqrt(count / len(outputs))
