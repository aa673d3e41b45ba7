"""The front as a plot of characters, for terminals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

from ...evaluators.measurement import plain_figure
from ..trial import Origin
from .entry import Entry
from .front import Front
from .ticks import tick_labels, ticks

if TYPE_CHECKING:
    from rich.text import Text

LEAST_WIDTH, MOST_WIDTH = 56, 100
"""Columns: on fewer a plot shows nothing, and on more it only grows apart."""
GAP = 2
"""Columns between a plot and the table beside it."""
FRONT, OTHER, HAND, TEACHER, BUDGET, INTERVAL = "●", "∘", "■", "◆", "│", "─"
NAMES = {FRONT: "front", TEACHER: "teacher", HAND: "by hand", OTHER: "other trials"}
COLOURS = {FRONT: "bold green", OTHER: "dim", HAND: "yellow", TEACHER: "bold cyan"}
FAR = 1.0
"""What lies further from the rest than this many times their range is not drawn, but counted."""
LOGARITHMIC = 5.0
"""Latencies whose largest is so many times the smallest are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Point:
    """A model as it is drawn.

    Attributes:
        entry: The model.
        mark: Its character.
        on_front: Whether no other model beats it.
        low_ms: Lower end of its latency's interval.
        ms: Its latency, at the percentile that is held against the budget.
        high_ms: Upper end.
    """

    entry: Entry
    mark: str
    on_front: bool
    low_ms: float
    ms: float
    high_ms: float


def terminal_plot(front: Front, width: int, height: int) -> Text | None:
    """Draw the metric over latency, with intervals for the front, the teacher, what is made by hand, and the budget.

    Args:
        front: The front.
        width: Columns.
        height: Lines, with the axes and the title; the legend comes below.

    Returns:
        The plot; None where the width is too small, or less than two models were measured.
    """
    width = min(width, MOST_WIDTH)
    points = points_of(front)
    if width < LEAST_WIDTH or len(points) < 2:
        return None
    budgets = sorted(set(front.limits.budgets.values()))
    shown = close_together(points)
    lines = _Drawing(front, shown, budgets, width, height).lines()
    return _coloured([*lines, *_legend(shown, len(points) - len(shown), budgets, width)])


def points_of(front: Front) -> list[Point]:
    """Return all finished trials as they are drawn, what stands out last: later ones cover earlier ones."""
    best = {entry.number for entry in front.best}
    found = []
    for entry in front.entries:
        latency, on_front = entry.reported_latency, entry.number in best
        mark = FRONT if on_front else OTHER
        if entry.trial.by_hand:
            mark = TEACHER if entry.trial.origin is Origin.TEACHER else HAND
        ends = (latency.low_ms, latency.p50_ms, latency.high_ms)
        if front.limits.budgets:
            ends = front.limits.held_ms(entry.target, latency)
        found.append(Point(entry, mark, on_front, *ends))
    return sorted(found, key=lambda point: (OTHER, HAND, TEACHER, FRONT).index(point.mark))


def close_together(points: Sequence[Point]) -> list[Point]:
    """Return the points that leave a plot readable: one useless model would press all others into a corner.

    The front and the teacher stay in any case.
    """
    kept = [point for point in points if point.on_front or point.mark == TEACHER]
    axes: list[tuple[Callable[[Point], float], float, float]] = []
    for value in (lambda point: point.entry.accuracy, lambda point: math.log(point.ms)):
        middle = quantiles([value(point) for point in points], n=4, method="inclusive")
        around = [middle[0], middle[2], *(value(point) for point in kept)]
        room = FAR * (max(around) - min(around) or math.inf)
        axes.append((value, min(around) - room, max(around) + room))
    return [p for p in points if p in kept or all(low <= value(p) <= high for value, low, high in axes)]


class _Drawing:
    """One plot, drawn by plotext."""

    def __init__(
        self, front: Front, points: Sequence[Point], budgets: Sequence[float], width: int, height: int
    ) -> None:
        self._front, self._points, self._budgets = front, points, budgets
        self._width, self._height = width, height
        times = [point.ms for point in points] + list(budgets)
        values = [point.entry.accuracy for point in points]
        logarithmic = max(times) > LOGARITHMIC * min(times)
        self._scale: Callable[[float], float] = math.log if logarithmic else float
        self._x_ticks = ticks(min(times), max(times), logarithmic=logarithmic)
        self._y_ticks = ticks(min(values), max(values))
        self._x_range = _padded([self._scale(ms) for ms in times])
        self._y_range = _padded(values)

    def lines(self) -> list[str]:
        import plotext  # it has one figure, which is cleared before it is used

        figure = plotext.figure
        figure.clear()
        figure.theme("colorless")
        figure.plot_size(self._width, self._height)
        figure.title(self._title())
        figure.ruler("x").lim(*self._x_range)
        figure.ruler("y").lim(*self._y_range)
        labels = [f"{ms:g}" for ms in self._x_ticks] if self._scale is math.log else tick_labels(self._x_ticks)
        figure.ruler("x").ticks([self._scale(ms) for ms in self._x_ticks], labels)
        figure.ruler("y").ticks(self._y_ticks, tick_labels(self._y_ticks))
        for budget in self._budgets:
            figure.line(self._scale(budget), "v")
        for point in self._points:
            if point.on_front:
                ends = [self._inside(point.low_ms), self._inside(point.high_ms)]
                figure.draw(figure.segment(ends, [point.entry.accuracy] * 2, marker=INTERVAL))
        for x, y, text in self._numbers():
            figure.draw(figure.text(x, y, text, alignment="left"))
        for point in self._points:
            figure.draw(figure.signal([self._scale(point.ms)], [point.entry.accuracy], marker=point.mark))
        return [line.rstrip() for line in figure.build().string(True).splitlines()]

    def _title(self) -> str:
        front, metric = self._front, self._front.limits.metric
        better = "" if metric.maximized else " (lower is better)"
        where = f" on {front.targets[0]}" if len(front.targets) > 1 and not front.any_of else ""
        tail = front.limits.percentile if self._budgets else 50
        return f"{metric.name}{better} on validation over p{tail} latency{where}, ms"

    def _inside(self, ms: float) -> float:
        low, high = self._x_range
        return min(high, max(low, self._scale(ms)))

    def _numbers(self) -> Iterator[tuple[float, float, str]]:
        """Yield where the number of each trial of the front can stand: behind its interval, where nothing else does."""
        columns = self._width - max(map(len, tick_labels(self._y_ticks))) - 3
        rows = self._height - 4
        (x_low, x_high), (y_low, y_high) = self._x_range, self._y_range
        cell = (x_high - x_low) / (columns - 1)
        taken: set[tuple[int, int]] = set()

        def cells(start: float, end: float, value: float) -> set[tuple[int, int]]:
            row = round((value - y_low) / (y_high - y_low) * (rows - 1))
            return {(row, c) for c in range(round((start - x_low) / cell), round((end - x_low) / cell) + 1)}

        for point in self._points:
            x = self._scale(point.ms)
            ends = (self._inside(point.low_ms), self._inside(point.high_ms)) if point.on_front else (x, x)
            taken |= cells(*ends, point.entry.accuracy)
        for point in self._points:
            text, value = str(point.entry.number), point.entry.accuracy
            start = self._inside(point.high_ms) + 2 * cell
            own = cells(start - cell, start + len(text) * cell, value)
            if point.on_front and not own & taken and max(c for _, c in own) < columns:
                taken |= own
                yield start, value, text


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    edge = 0.04 * (high - low) or 0.01 * abs(high) or 1.0
    return low - edge, high + edge


def _legend(points: Sequence[Point], left_out: int, budgets: Sequence[float], width: int) -> Iterator[str]:
    used = {point.mark for point in points}
    words = [f"{mark} {name}" for mark, name in NAMES.items() if mark in used]
    words.append(f"{INTERVAL} interval of the front, and its trial")
    words += [f"{BUDGET} budget {plain_figure(budget, 4)} ms" for budget in budgets]
    if left_out:
        words.append(f"{left_out} further off not drawn")
    line = ""
    for word in words:
        if line and len(line) + len(word) + 3 > width:
            yield f" {line}"
            line = ""
        line += f"{'  ' if line else ''}{word}"
    yield f" {line}"


def _coloured(lines: Sequence[str]) -> Text:
    from rich.text import Text

    text = Text("\n".join(lines), no_wrap=True)
    for mark, style in COLOURS.items():
        text.highlight_regex(mark, style)
    return text
