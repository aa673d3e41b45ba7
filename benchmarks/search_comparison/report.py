"""The comparison in words and tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from .points import Point, Run, Terms
from .volume import Box, Curve, best_accuracy, curve, within

SHARES = (0.10, 0.25, 0.50, 0.75, 1.00)
"""Parts of the time after which the methods are compared."""
COUNTED = ("finished", "gated", "stopped", "failed")

Curves = Mapping[str, Sequence[Curve]]
"""Method -> what each of its runs was worth over time. Methods are in the order of the report."""


def curves(runs: Sequence[Run], worth: Callable[[Sequence[Point]], float]) -> dict[str, list[Curve]]:
    """Return the curves of all runs, ours first."""
    found: dict[str, list[Curve]] = {}
    for run in sorted(runs, key=lambda r: (r.method != "ours", r.method, r.seed)):
        found.setdefault(run.method, []).append(curve(run.points, worth))
    return found


def report(runs: Sequence[Run]) -> str:
    """Return everything that is said of these runs, which share their terms."""
    terms = runs[0].terms
    box = Box.around(terms)
    end_s = 60 * terms.minutes
    lines = [*_head(terms, box), "", *_counts(runs)]
    volumes = curves(runs, box.volume)
    lines += ["", "hypervolume at a share of the time, mean over seeds", *_table(volumes, end_s, "{:.4f}")]
    lines += ["", *_passing(volumes, end_s), *_paired(runs, box.volume, end_s)]
    limit = terms.budget_ms
    if limit is None:
        return "\n".join([*lines, "", "no budget: nothing is said of models under one (--set budget.latency_ms=...)"])
    under = curves(runs, lambda points: box.volume(within(points, limit)))
    best = curves(runs, lambda points: best_accuracy(within(points, limit)))
    lines += ["", f"the same, of models under {limit:g} ms alone", *_table(under, end_s, "{:.4f}")]
    lines += ["", *_passing(under, end_s)]
    lines += [
        "",
        f"best accuracy under {limit:g} ms, on validation, %",
        *_table(best, end_s, "{:.2f}", 100.0, gaps=True),
    ]
    return "\n".join(lines)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over seeds, by Student's t; None for one seed."""
    if len(values) < 2:
        return None
    half = _t_95(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values) - half, statistics.mean(values) + half


def difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of how much the mean of `a` is above that of `b` (Welch 1947, doi:10.2307/2332510).

    Returns:
        The interval; None where one of them has one seed, or neither varies.
    """
    if min(len(a), len(b)) < 2:
        return None
    shares = [statistics.variance(own) / len(own) for own in (a, b)]
    if sum(shares) < 1e-16:
        return None
    freedom = sum(shares) ** 2 / sum(s**2 / (len(own) - 1) for s, own in zip(shares, (a, b), strict=True))
    half = _t_95(freedom) * math.sqrt(sum(shares))
    middle = statistics.mean(a) - statistics.mean(b)
    return middle - half, middle + half


def _t_95(freedom: float) -> float:
    from scipy.special import stdtrit  # all of scipy.stats would take seconds to import

    return float(stdtrit(freedom, 0.975))


def _head(terms: Terms, box: Box) -> Iterator[str]:
    told = terms.conditions
    yield (
        f"{terms.study}: {terms.minutes:g} minutes for each run, one after the other; {told.get('device_name')}, "
        f"{told.get('logical_cores')} cores, {told.get('runtime')} {told.get('runtime_version')}, "
        f"{told.get('threads')} threads, batch {told.get('batch')}"
    )
    budget = "" if terms.budget_ms is None else f"; budget {terms.budget_ms:g} ms at p{terms.percentile}"
    yield f"teacher: accuracy {terms.teacher_accuracy:.4f} on validation, p50 {terms.teacher_ms:.3g} ms{budget}"
    yield box.words
    yield (
        "counted for none: training the teacher, its export, the calibration, and opening the study. What "
        "the search finds out for itself before its first trial is in its time; its final confirmation is not"
    )


def _counts(runs: Sequence[Run]) -> Iterator[str]:
    yield "trials, mean over seeds" + " " * 11 + "".join(f"{name:>10}" for name in COUNTED) + "  ended after"
    for method in dict.fromkeys(c for c in curves(runs, best_accuracy)):
        own = [run for run in runs if run.method == method]
        cells = "".join(f"{statistics.mean(run.counts.get(name, 0) for run in own):>10.1f}" for name in COUNTED)
        ended = statistics.mean(run.ended_s for run in own) / 60
        why = " min, nothing left to try" if any(run.exhausted for run in own) else " min"
        yield f"  {method:10} {len(own)} runs{'':14}{cells}  {ended:.3g}{why}"


def _table(found: Curves, end_s: float, form: str, scale: float = 1.0, gaps: bool = False) -> Iterator[str]:
    """Yield a table. With gaps a mean is left out where a run has nothing yet; else nothing counts as 0."""
    yield "  " + " " * 10 + "".join(f"{share:>9.0%}" for share in SHARES) + "   95 % interval at the end"
    for method, own in found.items():
        cells = ""
        for share in SHARES:
            values = [c.at(share * end_s) for c in own]
            shown = not gaps or min(values) > 0
            cells += f"{form.format(scale * statistics.mean(values)) if shown else '-':>9}"
        ends = [scale * c.at(end_s) for c in own]
        sure = interval(ends) if not gaps or min(ends) > 0 else None
        words = "one seed" if len(ends) == 1 else "-"
        if sure is not None:
            words = f"{form.format(max(0.0, sure[0]))} to {form.format(min(scale, sure[1]))}"
        yield f"  {method:10}{cells}   {words}"
    if gaps:
        yield '  "-": at least one run had nothing yet'


def _passing(found: Curves, end_s: float) -> Iterator[str]:
    """Yield when ours is above what the best rival ends with, and how far above it ends."""
    rivals = {m: statistics.mean(c.at(end_s) for c in own) for m, own in found.items() if m != "ours"}
    if "ours" not in found or not rivals:
        return
    name = max(rivals, key=rivals.__getitem__)
    ours = found["ours"]
    times = sorted(math.inf if (s := c.passes(rivals[name])) is None else s for c in ours)
    middle = statistics.median(times)  # infinite where half of the runs never do
    passed = sum(t < math.inf for t in times)
    yield f"ours passes what the best rival ends with ({name}, {rivals[name]:.4f}) in {passed} of {len(ours)} runs" + (
        f", after {_minutes(middle)} of {end_s / 60:g} min ({middle / end_s:.0%}; runs: "
        f"{', '.join(_minutes(t) for t in times)})"
        if middle < math.inf
        else ""
    )
    ends = [c.at(end_s) for c in ours]
    theirs = [c.at(end_s) for c in found[name]]
    ahead = statistics.mean(ends) - statistics.mean(theirs)
    sure = difference(ends, theirs)
    spread = "" if sure is None else f" (95 % interval {sure[0]:+.4f} to {sure[1]:+.4f})"
    yield f"ours ends {abs(ahead):.4f} {'above' if ahead >= 0 else 'below'} {name}{spread}"


def _paired(runs: Sequence[Run], worth: Callable[[Sequence[Point]], float], end_s: float) -> Iterator[str]:
    """Yield how far above each rival ours ends, pair by pair.

    The runs of one seed followed each other, so that what the machine did meanwhile hit them alike.
    """
    ends = {(run.method, run.seed): curve(run.points, worth).at(end_s) for run in runs}
    for rival in sorted({method for method, _ in ends} - {"ours"}):
        apart = [ends["ours", s] - end for (m, s), end in ends.items() if m == rival and ("ours", s) in ends]
        if sure := interval(apart):
            words = f"{statistics.mean(apart):+.4f} (95 % interval {sure[0]:+.4f} to {sure[1]:+.4f})"
            yield f"ours minus {rival} of the same seed: {words}"


def _minutes(seconds: float) -> str:
    return "never" if seconds == math.inf else f"{seconds / 60:.3g}"
