"""Sensitivities on the screen: nats, coloured by size, with a bar that shows the order at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .screen import screen

if TYPE_CHECKING:
    from ..spaces.sensitivity import Sensitivity

FRACTIONS = (0.75, 0.5, 0.25)
"""Parts that stay, one column each, for rows of sizes."""
BAR = 16
COLOURS = ("green", "yellow", "red")
TITLES = {
    "bits": ("Fewer bits of one layer", "layer"),
    "channels": ("Fewer channels of one group", "group"),
    "pattern": ("Zeros in one layer", "layer"),
}

Row = tuple[str, Mapping[str, tuple[float, bool]]]
"""A name, and by column the divergence in nats with whether it is interpolated."""


def print_sensitivity(found: Sensitivity) -> None:
    """Print a table for each axis, its rows in order of execution."""
    console = screen(150)
    for axis in dict.fromkeys(name.partition(":")[0] for name in found.rows):
        _print(console, found, axis)
    if not found.rows:
        console.print("this space offers nothing that could be measured on the teacher alone")
        return
    console.print(
        f"How to read it: mean Kullback-Leibler divergence of the answers from the teacher's, in nats, over "
        f"{found.inputs} calibration inputs, with that one decision and no training; 0 is the teacher. Figures do not "
        "add up, and training wins much of them back: this is an order, no promise of accuracy. ~ is interpolated.",
        style="dim",
    )


def _columns(found: Sensitivity, names: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Return the columns and rows of one axis: parts that stay for rows of many sizes, else options."""
    from ..spaces.sensitivity import MANY_SIZES, at_part

    options = list(dict.fromkeys(m.option for name in names for m in found.rows[name]))
    alike = len({tuple(m.option for m in found.rows[name]) for name in names}) == 1
    if all(isinstance(option, str) for option in options) or (alike and len(options) < MANY_SIZES):
        rows: list[Row] = [(n, {str(m.option): (m.nats, False) for m in found.rows[n]}) for n in names]
        return [str(option) for option in options], rows
    rows = []
    for name in names:
        row = found.rows[name]
        parts, least = {m.part for m in row}, min(row, key=lambda m: m.part)
        cells = {f"{p:.0%} kept": (at_part(row, p), p not in parts) for p in FRACTIONS if p >= least.part}
        rows.append((f"{name} (fewest {least.option})", {**cells, "fewest": (least.nats, False)}))
    return [*(f"{part:.0%} kept" for part in FRACTIONS), "fewest"], rows


def _print(console: Console, found: Sensitivity, axis: str) -> None:
    order = {name: place for place, name in enumerate(found.order(axis), 1)}
    names = [name for name in found.rows if name in order]
    title, head = TITLES.get(axis, (f"One decision of the axis {axis}", "about"))
    columns, rows = _columns(found, names)
    table = Table(title=f"{title}: divergence in nats", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(head, overflow="fold")
    for column in columns:
        table.add_column(f"{column} bits" if axis == "bits" else column, justify="right")
    table.add_column("place", justify="right")
    table.add_column("", no_wrap=True)
    weights = _Scale([found.weight(name) for name in names])
    scales = {column: _Scale([cells[column][0] for _, cells in rows if column in cells]) for column in columns}
    for name, (label, cells) in zip(names, rows, strict=True):
        shown = [_cell(scales[column], cells.get(column)) for column in columns]
        part = weights.part(found.weight(name))
        bar = Text("━" * round(1 + (BAR - 1) * part), style=_colour(part))
        table.add_row(label.partition(":")[2] or label, *shown, str(order[name]), bar)
    console.print(table)
    ends = [name.partition(":")[2] for name in order]
    if len(ends) > 3:
        console.print(f"least sensitive: {', '.join(ends[:3])}; most: {', '.join(ends[:-4:-1])}")


class _Scale:
    """Tells where a figure lies among those of its column, from 0 to 1 on a logarithmic scale."""

    def __init__(self, figures: Sequence[float]) -> None:
        logarithms = [math.log(d) for d in figures if d > 0]
        self._low, self._high = min(logarithms, default=0.0), max(logarithms, default=0.0)

    def part(self, nats: float) -> float:
        if nats <= 0:
            return 0.0
        return min(1.0, max(0.0, (math.log(nats) - self._low) / max(1e-9, self._high - self._low)))


def _cell(scale: _Scale, cell: tuple[float, bool] | None) -> Text:
    if cell is None:
        return Text("-", style="dim")
    nats, interpolated = cell
    words = f"{nats:.2g}" if nats >= 0.001 or nats == 0 else f"{nats:.0e}"
    return Text(f"{'~' if interpolated else ''}{words}", style=_colour(scale.part(nats)))


def _colour(part: float) -> str:
    return COLOURS[min(len(COLOURS) - 1, int(part * len(COLOURS)))]
