"""A picture of the comparison: what each method had found at each moment."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from autocompress.search.report.plot import BLUE, GREEN, GREY, ORANGE

from .points import Run
from .report import Curves, curves
from .volume import Box, best_accuracy, within

COLORS = {
    "ours": BLUE,
    "grid": ORANGE,
    "pipeline": GREEN,
    "random": GREY,
    "nsga2": "#a855f7",
    "tpe": "#dc2626",
}
NAMES = {"ours": "AutoCompress", "grid": "uniform grid", "random": "random", "nsga2": "NSGA-II", "tpe": "TPE"}
MOMENTS = 400


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw hypervolume over time, mean and range over seeds, and the best accuracy under the budget if there is one.

    Args:
        runs: They share their terms.
        path: Of the picture, .svg or .png.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    terms = runs[0].terms
    box, limit = Box.around(terms), terms.budget_ms
    count = 1 if limit is None else 2
    figure, grid = plt.subplots(
        1, count, figsize=(8.4 if count == 1 else 13.2, 4.8), layout="constrained", squeeze=False
    )
    left = grid[0][0]
    _panel(left, curves(runs, box.volume), terms.minutes, 1.0)
    left.set_ylabel("hypervolume, share of the box")
    seeds = len({run.seed for run in runs})
    band = f"mean and range of {seeds} seeds" if seeds > 1 else "one seed"
    left.set_title(f"{terms.study}: worth of all models so far, {band}", loc="left", fontsize=11)
    if limit is not None:
        right = grid[0][1]
        best = curves(runs, lambda points: best_accuracy(within(points, limit)))
        teacher = 100 * terms.teacher_accuracy
        _panel(right, best, terms.minutes, 100.0, teacher)
        right.axhline(teacher, color=GREY, ls=":", lw=1)
        right.annotate(
            "teacher", (0, teacher), xytext=(4, 3), textcoords="offset points", fontsize=8, color=GREY, va="bottom"
        )
        right.set_ylabel(f"best accuracy under {limit:g} ms, %")
        right.set_title("best model under the budget so far", loc="left", fontsize=11)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axes: Any, found: Curves, minutes: float, scale: float, teacher: float | None = None) -> None:
    """Draw a line for each method.

    Args:
        axes: Where to draw.
        found: The curves.
        minutes: The whole time.
        scale: What values are multiplied by.
        teacher: Its accuracy, where lines are accuracies: they begin when all runs have one. None where having nothing
            is 0.
    """
    moments = [minutes * i / MOMENTS for i in range(MOMENTS + 1)]
    ends: list[tuple[float, str]] = []
    lows: list[float] = []
    highs: list[float] = []
    for method, own in reversed(list(found.items())):  # ours, the first, on top
        rows = [[scale * c.at(60 * t) for c in own] for t in moments]
        enough = min if teacher is not None else max
        begun = next((i for i, row in enumerate(rows) if enough(row) > 0), None)
        if begun is None:
            continue
        x, shown = moments[begun:], rows[begun:]
        color = COLORS.get(method, GREY)
        mean = [statistics.mean(row) for row in shown]
        thick = method == "ours"
        if len(own) > 1:
            low, high = [min(row) for row in shown], [max(row) for row in shown]
            axes.fill_between(x, low, high, step="post", color=color, alpha=0.18 if thick else 0.08, lw=0)
        axes.step(x, mean, where="post", color=color, lw=2.4 if thick else 1.4, solid_capstyle="round")
        ends.append((mean[-1], method))
        lows.append(mean[len(mean) // 10])
        highs.append(max(teacher or 0.0, *shown[-1]))
    if ends:
        # the first steps of a slow start would press all that matters into the top of the picture
        reach = max(highs) - min(lows)
        pad = 0.06 * reach or 0.02 * scale
        axes.set_ylim(max(0.0, min(lows) - pad), max(highs) + pad)
    axes.set_xlim(0, minutes)
    axes.set_xlabel("minutes")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _name_lines(axes, sorted(ends))


def _name_lines(axes: Any, ends: Sequence[tuple[float, str]]) -> None:
    """Write names at the ends of the lines, moved apart where they would lie on each other."""
    low, high = axes.get_ylim()
    gap = 0.05 * (high - low)
    places = [value for value, _ in ends]
    for _ in range(100 * len(places)):  # neighbours that are too close give way, each by half
        for i, j in pairwise(range(len(places))):
            if (lack := gap - (places[j] - places[i])) > 0:
                places[i] -= lack / 2
                places[j] += lack / 2
    for (value, method), place in zip(ends, places, strict=True):
        color = COLORS.get(method, GREY)
        axes.annotate(
            NAMES.get(method, method),
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(1.025, place),
            textcoords=("axes fraction", "data"),
            color=color,
            fontsize=9,
            fontweight="bold" if method == "ours" else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.7, "alpha": 0.6, "shrinkA": 0, "shrinkB": 0},
        )
