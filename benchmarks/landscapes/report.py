"""Curves as tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from .score import Curve

QUARTERS = (0.25, 0.5, 0.75, 1.0)
TRAININGS = (50, 100, 300)


def print_report(curves: Sequence[Curve]) -> None:
    """Print one block for each problem and length of runs."""
    for problem, trainings in dict.fromkeys((curve.problem, curve.trainings) for curve in curves):
        some = [curve for curve in curves if (curve.problem, curve.trainings) == (problem, trainings)]
        print("\n" + "\n".join(block(some)))


def block(curves: Sequence[Curve]) -> list[str]:
    """Return the lines about runs of one problem and one length: the methods, the best end first, then differences.

    Each column has its own best rival, the one with the highest mean there, and the mean of the differences from it on
    the same seed, with its 95 % interval.
    """
    methods = {m: [c for c in curves if c.method == m] for m in dict.fromkeys(c.method for c in curves)}
    length = curves[0].trainings
    columns = {f"{part:.0%}": part for part in QUARTERS}
    columns |= {f"after {count}": count / length for count in TRAININGS if length and count <= length}
    length_words = f", {length:.0f} trainings' time" if length else ""
    lines = [
        f"{curves[0].problem}, {len({c.seed for c in curves})} seeds{length_words}",
        f"{'':34}" + "".join(f"{title:>17}" for title in columns) + f"{'trials':>9}{'wall s':>8}",
    ]
    for method in sorted(methods, key=lambda m: -_mean(methods[m], 1.0)):
        found = methods[method]
        figures = "".join(f"{_mean(found, part):17.3f}" for part in columns.values())
        trials, wall_s = statistics.fmean(c.trials for c in found), statistics.fmean(c.wall_s for c in found)
        lines.append(f"{method:34}{figures}{trials:9.0f}{wall_s:8.0f}")
    best = [best_rival(methods, part) for part in columns.values()]
    for method in (m for m in methods if m.startswith("ours") and all(best)):
        pairs = zip(best, columns.values(), strict=True)
        words = [difference_words(methods[method], methods[rival], part) for rival, part in pairs if rival]
        lines.append(f"{method + ' - best rival':34}" + "".join(f"{word:>17}" for word in words))
        last = best[list(columns).index("100%")]
        if last:
            lines.append(f"{'':34}passes the best rival's end after: {passing_words(methods[method], methods[last])}")
    if all(best):
        lines.append(f"{'best rival':34}" + "".join(f"{rival:>17}" for rival in best))
    return lines


def best_rival(methods: dict[str, list[Curve]], part: float = 1.0) -> str | None:
    """Return the rival with the highest mean after a part of the time."""
    rivals = [m for m in methods if not m.startswith("ours")]
    return max(rivals, key=lambda m: _mean(methods[m], part), default=None)


def difference_words(ours: Sequence[Curve], rival: Sequence[Curve], part: float) -> str:
    """Return the mean of the differences on the same seed after a part of the time, with its 95 % interval (t)."""
    shares = {curve.seed: curve.at(part) for curve in rival}
    found = [curve.at(part) - shares[curve.seed] for curve in ours if curve.seed in shares]
    if not found:
        return "no seed in common"
    mean = statistics.fmean(found)
    if len(found) < 2:
        return f"{mean:+.3f}"
    from scipy.stats import t

    half = float(t.ppf(0.975, len(found) - 1)) * statistics.stdev(found) / math.sqrt(len(found))
    return f"{mean:+.3f} ± {half:.3f}"


def passing_words(ours: Sequence[Curve], rival: Sequence[Curve]) -> str:
    """Return when the search passes what the rival ends with on the same seed: the median, and on how many seeds."""
    ends = {curve.seed: curve.end for curve in rival}
    pairs = [(curve, ends[curve.seed]) for curve in ours if curve.seed in ends]
    found = [curve.passes(end) for curve, end in pairs]
    # a seed where it never happens counts as longer than the whole time
    median = _median([1.01 if part is None else part for part in found]) if found else 1.01
    words = f"{median:.0%} of the time" if median <= 1 else "never"
    return f"{rival[0].method}: {words}, on {sum(p is not None for p in found)} of {len(found)} seeds"


def _mean(curves: Sequence[Curve], part: float) -> float:
    return statistics.fmean(curve.at(part) for curve in curves)


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
