"""Sensitivities on the screen: damages in nats, coloured by size, with a bar that shows the order at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..spaces.sensitivity import Kind, Sensitivity

FRACTIONS = (0.75, 0.5, 0.25)
"""Parts of a group's channels that stay, one column each."""
BAR = 16
COLOURS = ("green", "yellow", "red")

Row = tuple[str, Mapping[str, tuple[float, bool]]]
"""A name, and by column the damage in nats with whether it is interpolated."""


def print_sensitivity(found: Sensitivity) -> None:
    """One table for bits, one for channels and one for patterns, each in order of execution."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)  # a file is as wide as it needs to be
    widths = sorted({b for measured in found.bits.values() for b in measured}, reverse=True)
    rows: list[Row] = [(n, {f"{b} bits": (x, False) for b, x in v.items()}) for n, v in found.bits.items()]
    _print(console, found, "bits", "Fewer bits of one layer", "layer", [f"{b} bits" for b in widths], rows)
    columns = [f"{part:.0%} kept" for part in FRACTIONS]
    rows = [(group, _parts(found, group)) for group in found.channels]
    _print(console, found, "channels", "Fewer channels of one group", "group", [*columns, "fewest"], rows)
    names = {p: "2:4" if p.kind == "2:4" else f"{p.rate:.0%} zeros" for v in found.patterns.values() for p in v}
    rows = [(n, {names[p]: (x, False) for p, x in v.items()}) for n, v in found.patterns.items()]
    _print(console, found, "patterns", "Zeros in one layer", "layer", list(dict.fromkeys(names.values())), rows)
    if not (found.bits or found.channels or found.patterns):
        console.print("this space offers neither bits nor channels nor patterns: there is nothing to measure")
        return
    console.print(
        f"How to read it: mean Kullback-Leibler divergence of the answers from the teacher's, in nats, over "
        f"{found.inputs} calibration inputs, with that one decision and no training; 0 is the teacher. Damages do not "
        "add up, and training wins much of them back: this is an order, no promise of accuracy. ~ is interpolated.",
        style="dim",
    )


def _parts(found: Sensitivity, group: str) -> dict[str, tuple[float, bool]]:
    counts = found.channels[group]
    full, least = max(counts), min(counts)
    parts = {
        f"{part:.0%} kept": (found.at_count(group, part * full), part * full not in counts)
        for part in FRACTIONS
        if part * full >= least
    }
    return parts | ({"fewest": (counts[least], False)} if least < full else {})


def _print(
    console: Console,
    found: Sensitivity,
    kind: Kind,
    title: str,
    head: str,
    columns: Sequence[str],
    rows: Sequence[Row],
) -> None:
    if not rows:
        return
    table = Table(title=f"{title}: damage in nats", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column(head, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("place", justify="right")
    table.add_column("", no_wrap=True)
    order = {name: place for place, name in enumerate(found.order(kind), 1)}
    weights = _Scale([found.weight(kind, name) for name in order])
    scales = {column: _Scale([cells[column][0] for _, cells in rows if column in cells]) for column in columns}
    for name, cells in rows:
        shown = [_cell(scales[column], cells.get(column)) for column in columns]
        counts = found.channels.get(name, {}) if kind == "channels" else {}
        label = f"{name} ({max(counts)}, fewest {min(counts)})" if counts else name
        part = weights.part(found.weight(kind, name))
        table.add_row(label, *shown, str(order[name]), Text("━" * round(1 + (BAR - 1) * part), style=_colour(part)))
    console.print(table)
    least, most = found.order(kind)[:3], found.order(kind)[:-4:-1]
    if len(rows) > 3:
        console.print(f"least sensitive: {', '.join(least)}; most: {', '.join(most)}")


class _Scale:
    """Where a damage lies among those of its column, from 0 to 1 on a logarithmic scale."""

    def __init__(self, damages: Sequence[float]) -> None:
        logarithms = [math.log(d) for d in damages if d > 0]
        self._low, self._high = min(logarithms, default=0.0), max(logarithms, default=0.0)

    def part(self, damage: float) -> float:
        if damage <= 0:
            return 0.0
        return min(1.0, max(0.0, (math.log(damage) - self._low) / max(1e-9, self._high - self._low)))


def _cell(scale: _Scale, cell: tuple[float, bool] | None) -> Text:
    if cell is None:
        return Text("-", style="dim")
    damage, interpolated = cell
    words = f"{damage:.2g}" if damage >= 0.001 or damage == 0 else f"{damage:.0e}"
    return Text(f"{'~' if interpolated else ''}{words}", style=_colour(scale.part(damage)))


def _colour(part: float) -> str:
    return COLOURS[min(len(COLOURS) - 1, int(part * len(COLOURS)))]
