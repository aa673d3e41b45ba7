"""The ratio of two files that low quantiles and medians agree on, as far as they do."""

from __future__ import annotations

import math
from dataclasses import replace

from .readings import Readings
from .statistics import Estimate

MATERIAL = 0.02
"""Difference of two log-ratios that is not worth another way to measure."""
BY_MEDIANS = "wall time, 50% quantile"
"""What files are compared by where low quantiles do not tell their medians."""


def agreed_ratio(readings: Readings, index: int) -> tuple[Estimate, dict[str, str]]:
    """Estimate the logarithm of a file's time over the first file's.

    It is that of low quantiles, which other work disturbs least. Where the medians of wall time surely disagree with
    it, as with several threads they may, it is that of the medians; where they may, its interval holds both.

    Args:
        readings: Of files that were timed together.
        index: Of the file.

    Returns:
        The estimate, and what is to be said of it in the conditions.
    """
    ratio = readings.ratio(index)
    # under a neighbour's load medians say more of the neighbour than of the file
    if readings.troubles and readings.shared_statistic(index).clock == "cpu":
        return ratio, {}
    apart = readings.difference(index)
    if abs(apart.log) > max(apart.half_width, MATERIAL):
        return readings.median_ratio(index), {"statistic": BY_MEDIANS}
    if abs(apart.log) > MATERIAL:
        return replace(ratio, half_width=math.hypot(ratio.half_width, apart.log)), {}
    return ratio, {}


def half_width(readings: Readings) -> float:
    """Return half of the widest interval of the log-ratios that are reported; of the first file's median if alone."""
    if len(readings.files) == 1:
        return readings.p50(0).half_width
    return max(agreed_ratio(readings, index)[0].half_width for index in range(1, len(readings.files)))
