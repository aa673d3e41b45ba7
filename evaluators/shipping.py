"""Which of some measured files to ship, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..studies.metric import ACCURACY, MetricLabel
from .measurement import Latency

MOST_TIED = 3
"""Files named at most that cannot be told apart from the one to ship."""


@dataclass(frozen=True)
class MeasuredFile:
    """A file beside others.

    Attributes:
        name: As it is shown.
        latency: Of one inference; its ratio is to the first of the files. None where it was not run.
        size_bytes: Of the file.
        quality: The metric as a search keeps it, None where no data are at hand.
        quality_sd: Standard error of it by resampling examples, of metrics that are no shares of right answers.
    """

    name: str
    latency: Latency | None
    size_bytes: int
    quality: float | None = None
    quality_sd: float | None = None


def which_to_ship(
    files: Sequence[MeasuredFile], metric: MetricLabel = ACCURACY, examples: int = 0, least: float | None = None
) -> str:
    """Return the file to ship: the fastest of those that are as good as the best, but for the noise of the metric.

    That noise is a standard error of the difference of two files: of two binomial shares of so many examples, or what
    resampling says where the metric is no share of right answers. Files are scored on the same examples, so their
    difference is surer than that of two samples. A metric of which neither is known counts as it is.

    Args:
        files: The first is what the others are compared with.
        metric: How the metric is shown.
        examples: Behind the metric, where it is the share of them that is right; else 0.
        least: Metric, as a search keeps it, with which a file is good enough although others are better.
    """
    timed = [(file, file.latency) for file in files if file.latency is not None]
    if len(timed) < 2:
        return ""
    floor = _floor(files, examples if metric == ACCURACY else 0, least)
    good = [(f, x) for f, x in timed if floor is None or (f.quality is not None and f.quality >= floor)]
    if not good:
        return ""
    (first, _), (chosen, latency) = timed[0], min(good, key=lambda pair: (pair[1].ratio, pair[0].size_bytes))
    figures = "" if chosen.quality is None else f" ({metric.name} {metric.text(chosen.quality)})"
    if chosen is first:
        words = f"ship {chosen.name}{figures}: none of the others is faster{' and as good' if figures else ''}"
    else:
        low, high = 1 / latency.ratio_high, 1 / latency.ratio_low
        times = f"{1 / latency.ratio:.2f} times ({low:.2f} to {high:.2f})"
        words = f"ship {chosen.name}{figures}: {times} as fast as {first.name}"
    # how the machine differs between moments is in all milliseconds, and in no ratio
    tied = [f.name for f, x in good if f is not chosen and x.ratio_low <= latency.ratio_high]
    if tied:
        named = ", ".join(tied[:MOST_TIED]) + (", ..." if len(tied) > MOST_TIED else "")
        words += f"; not to be told apart from it by latency: {named}"
    best = max((f for f, _ in timed if f.quality is not None), key=lambda f: f.quality or 0.0, default=None)
    if best is not None and best.quality is not None and all(best is not f for f, _ in good):
        words += f"; {best.name} is better ({metric.text(best.quality)})"
    return words


def verdict(latency: Latency) -> str:
    """Return whether a file is faster or slower than the first, or a tie."""
    return "faster" if latency.ratio_high < 1 else "slower" if latency.ratio_low > 1 else "tie"


def _floor(files: Sequence[MeasuredFile], examples: int, least: float | None) -> float | None:
    known = [(f.quality, f.quality_sd) for f in files if f.quality is not None and f.latency is not None]
    if not known:
        return None
    best, sd = max(known, key=lambda pair: pair[0])
    noise = 0.0
    if sd is not None:
        noise = math.sqrt(2) * sd
    elif examples > 0:
        noise = math.sqrt(2 * max(best * (1 - best), 1 / examples) / examples)
    return best - noise if least is None else min(best - noise, least)
