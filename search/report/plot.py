"""The front as a picture."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from ...evaluators.measurement import plain_figure
from ...files import given_file
from .entry import Entry
from .front import Front

BLUE, GREY, ORANGE, GREEN = "#2563eb", "#9ca3af", "#d97706", "#16a34a"


SUFFIXES = (".svg", ".png")


def plot(front: Front, path: Path) -> None:
    """Draw accuracy over latency (ms, with intervals) of every finished trial.

    Args:
        front: The front.
        path: Of the picture, .svg or .png.

    Raises:
        UsageError: There is no model to draw, or the suffix is another one.
        StorageError: The file cannot be written.
    """
    import matplotlib

    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: cannot be drawn as {path.suffix or 'a file without a suffix'}; allowed: .svg, .png")
    if not front.entries:
        raise UsageError(f"{front.folder} has no finished model to draw: search on")

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    best = {e.number for e in front.best}
    shares = front.limits.metric.maximized and all(0 <= e.accuracy <= 1 for e in front.entries)
    scale = 100.0 if shares else 1.0
    figure, axes = plt.subplots(figsize=(8.4, 4.8), layout="constrained")
    others = [e for e in front.entries if e.number not in best and not e.trial.by_hand]
    by_hand = [e for e in front.entries if e.trial.by_hand]
    x, y = [e.reported_latency.p50_ms for e in others], [e.accuracy * scale for e in others]
    axes.scatter(x, y, s=18, c=GREY, label="other trials")
    line = front.best
    x, y = [e.reported_latency.p50_ms for e in line], [e.accuracy * scale for e in line]
    axes.step(x, y, where="post", color=BLUE, lw=1.2, alpha=0.6)
    _points(axes, by_hand, scale, ORANGE, "s", "by hand", 7)
    _points(axes, line, scale, BLUE, "o", "the front", 5)
    above = False
    for entry in by_hand:
        above = not above  # neighbours differ, so that names do not lie on each other
        axes.annotate(
            _plain(entry.trial.label),
            (entry.reported_latency.p50_ms, entry.accuracy * scale),
            xytext=(6, 6 if above else -12),
            textcoords="offset points",
            fontsize=7.5,
            color=ORANGE,
        )
    for budget in _budgets(front):
        axes.axvline(budget, color=GREEN, ls="--", lw=1, label=f"budget {plain_figure(budget, 4)} ms")
    axes.margins(x=0.12)
    times = [e.reported_latency.p50_ms for e in front.entries]
    if max(times) > 5 * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xlabel(
        f"latency of the exported file, ms (p50, {front.entries[0].latency.conditions.get('device_name', '')})"
    )
    name = front.limits.metric.name
    axes.set_ylabel(f"{_plain(name)} on validation, %" if shares else f"{_plain(name)} on validation")
    axes.set_title(
        f"{_plain(front.folder.name)}: {_plain(name)} and latency of exported files", loc="left", fontsize=11
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=8.5)
    try:
        with given_file(path):
            figure.savefig(path, dpi=150)
    finally:
        plt.close(figure)


def _budgets(front: Front) -> list[float]:
    """Return the budgets (ms) of the latencies that are drawn: of the first target, or of each model's own."""
    budgets = front.limits.budgets
    drawn = front.targets if front.any_of else front.targets[:1]
    return sorted({budgets[name] for name in drawn if name in budgets})


def _plain(text: str) -> str:
    """Return a text that is drawn as it is: dollars stand for formulas otherwise."""
    return text.replace("$", r"\$")


def _points(axes: object, entries: list[Entry], scale: float, color: str, marker: str, label: str, size: int) -> None:
    x = [e.reported_latency.p50_ms for e in entries]
    low = [e.reported_latency.p50_ms - e.reported_latency.low_ms for e in entries]
    high = [e.reported_latency.high_ms - e.reported_latency.p50_ms for e in entries]
    axes.errorbar(  # type: ignore[attr-defined]
        x, [e.accuracy * scale for e in entries], xerr=[low, high], fmt=marker, color=color, ms=size, lw=1, label=label
    )
