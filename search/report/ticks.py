"""Round numbers for the axes of plots."""

from __future__ import annotations

import math

NARROWEST = 1e-6
"""Part of its numbers below which a range has no numbers between its ends that can be printed."""


def ticks(low: float, high: float, most: int = 7, logarithmic: bool = False) -> list[float]:
    """Return round numbers from `low` to `high`, about `most` of them.

    Args:
        low: The least that is shown.
        high: The largest, not below `low`.
        most: How many there is room for.
        logarithmic: Whether they are to be even on a logarithmic scale; `low` is positive then.
    """
    if high - low <= NARROWEST * max(abs(low), abs(high)):
        return [low]
    if logarithmic:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = [float(f"{step * 10.0**d:.3g}") for d in decades for step in steps]
            found = [value for value in found if low <= value <= high]
            if len(found) <= most:
                break
        return found[:: math.ceil(len(found) / most)] if found else [low, high]
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(unit * times for times in (1, 2, 5, 10, 20) if (high - low) / (unit * times) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)] or [low, high]


def tick_labels(at: list[float]) -> list[str]:
    """Return the numbers as they are printed: all with as many digits behind the point as one of them needs."""
    digits = max((len(f"{value:g}".partition(".")[2]) for value in at if "e" not in f"{value:g}"), default=0)
    return [f"{value:g}" if "e" in f"{value:g}" else f"{value:.{digits}f}" for value in at]
