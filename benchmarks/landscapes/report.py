"""Curves as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from .score import Curve


def print_report(curves: Sequence[Curve]) -> None:
    """Print one block for each problem with one line for each method, the best end first."""
    for problem in dict.fromkeys(curve.problem for curve in curves):
        some = [curve for curve in curves if curve.problem == problem]
        methods = {m: [c for c in some if c.method == m] for m in dict.fromkeys(c.method for c in some)}
        best = best_rival(methods)
        print(f"\n{problem}, {len({c.seed for c in some})} seeds")
        print(f"{'':24}{'end':>8}{'middle half':>18}{'over time':>11}{'trials':>8}   passes the best rival's end after")
        for method in sorted(methods, key=lambda m: -_median([c.end for c in methods[m]])):
            found = methods[method]
            low, high = np.quantile([c.end for c in found], (0.25, 0.75))
            passing = passing_words(found, methods[best]) if best and method.startswith("ours") else ""
            print(
                f"{method:24}{_median([c.end for c in found]):8.3f}{f'{low:.3f} to {high:.3f}':>18}"
                f"{_median([c.area for c in found]):11.3f}{_median([c.trials for c in found]):8.0f}   {passing}"
            )


def best_rival(methods: dict[str, list[Curve]]) -> str | None:
    """Return the rival with the highest median at the end."""
    rivals = [m for m in methods if not m.startswith("ours")]
    return max(rivals, key=lambda m: _median([c.end for c in methods[m]]), default=None)


def passing_words(ours: Sequence[Curve], rival: Sequence[Curve]) -> str:
    """Return when the search passes what the rival ends with on the same seed: the median, and on how many seeds."""
    ends = {curve.seed: curve.end for curve in rival}
    pairs = [(curve, ends[curve.seed]) for curve in ours if curve.seed in ends]
    found = [curve.passes(end) for curve, end in pairs]
    # a seed where it never happens counts as longer than the whole time
    median = _median([1.01 if part is None else part for part in found]) if found else 1.01
    words = f"{median:.0%} of the time" if median <= 1 else "never"
    return f"{rival[0].method}: {words}, on {sum(p is not None for p in found)} of {len(found)} seeds"


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
