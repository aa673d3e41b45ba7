"""A study that was hurt beside one that was not: the same plans are worth the same, and the front is as good."""

from __future__ import annotations

import re

from .arena import Run
from .ledger import Ledger
from .table import Row

HYPERVOLUME = re.compile(r"hypervolume .*?([\d.]+) \(([\d.]+) to ([\d.]+)\)")
EXAMPLES = 300
"""Of the validation split: a metric has an interval too."""


def compared(hurt: Ledger, hurt_run: Run, calm: Ledger, calm_run: Run) -> Row:
    """Compare two studies of one task, the metric exactly as far as it can be, latencies by their intervals."""
    row = Row("front beside that of an undisturbed search")
    one, other = hurt.finished, calm.finished
    for plan in one.keys() & other.keys():
        row.times += 1
        first, second = (next(iter(trials[plan]["measured"].values())) for trials in (one, other))
        number = one[plan]["number"]
        a, b = first["accuracy"], second["accuracy"]
        # students that begin with the weights of another one differ with what had ended when they began
        alike = one[plan]["warm_start"] == other[plan]["warm_start"] is None
        chance = 2 * ((a * (1 - a) + b * (1 - b)) / EXAMPLES) ** 0.5
        if abs(a - b) > (0.5 / EXAMPLES if alike and not one[plan]["rungs"] else max(chance, 0.01)):
            row.wrong.append(f"trial {number}: metric {a:.4f}, undisturbed {b:.4f}")
        mine, its = first["latency"], second["latency"]
        if mine["disturbed"] or its["disturbed"]:
            continue
        if mine["low_ms"] > its["high_ms"] * 1.25 or its["low_ms"] > mine["high_ms"] * 1.25:
            row.wrong.append(f"trial {number}: {mine['p50_ms']:.3f} ms, undisturbed {its['p50_ms']:.3f} ms")
    volumes = [HYPERVOLUME.search(run.text()) for run in (hurt_run, calm_run)]
    if volumes[0] is None or volumes[1] is None:
        row.wrong.append("no hypervolume was said")
    else:
        (v, low, high), (w, its_low, its_high) = (tuple(map(float, found.groups())) for found in volumes if found)
        row.ended.append(f"hypervolume {v} ({low} to {high}), undisturbed {w} ({its_low} to {its_high})")
        if low > its_high or its_low > high:
            row.wrong.append(f"hypervolume {v}, undisturbed {w}")
    return row
