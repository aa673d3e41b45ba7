"""Tables and plots that fit a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..search.report.front import Front

PLOT_LINES, MOST_PLOT_LINES = 18, 26
"""Lines of a plot below the table, and at most beside it."""
SPARED = ("zstd kB", "test", "kB", "speed-up")
"""Columns that a narrow terminal does without, in this order."""
TECHNIQUES_SPARED = ("tried", "kB", "test", "training", "trial", "speed-up")
"""The same for the table of techniques."""

WORDS = ("origin", "technique")
"""Columns of words, which may go on in a further line."""


def width_of(console: Console, shown: Table) -> int:
    """Return the columns of a terminal that a table takes when nothing in it is cut."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(width=10_000), shown).maximum


def narrowed(console: Console, shown: Table, spared: Sequence[str] = SPARED) -> list[str]:
    """Take columns out of a table until it fits, and return their heads.

    Numbers that are cut short tell nothing; the same command in a wider terminal, or into a file, shows all.

    Args:
        console: The terminal.
        shown: The table, which is changed.
        spared: Heads of the columns that may go, in this order.
    """
    gone: list[str] = []
    for head in spared:
        if width_of(console, shown) <= console.width:
            break
        if any(column.header == head for column in shown.columns):
            shown.columns = [column for column in shown.columns if column.header != head]
            gone.append(head)
    for column in shown.columns:
        if column.header in WORDS and width_of(console, shown) > console.width:
            column.no_wrap = False
    return gone


def left_out_line(gone: Sequence[str]) -> str:
    """Return the line that names the columns which a narrow terminal went without."""
    return f"left out for want of columns: {', '.join(gone)}"


def print_table(console: Console, found: Front, shown: Table, plot: bool) -> None:
    """Print a front's table, with a plot beside it, or below it where a terminal is too narrow for both.

    Args:
        console: The terminal.
        found: The front.
        shown: Its table.
        plot: Whether a plot is wanted; a terminal that is too narrow, or takes ASCII alone, has none.
    """
    from rich.table import Table

    from ..search.report.terminal_plot import GAP, LEAST_WIDTH, terminal_plot

    plot = plot and console.encoding.lower().startswith("utf")
    gone = narrowed(console, shown, (*SPARED, *(f"{name} ms" for name in reversed(found.targets[1:]))))
    room = console.width - width_of(console, shown) - GAP
    beside = plot and room >= LEAST_WIDTH
    lines = min(MOST_PLOT_LINES, max(PLOT_LINES, shown.row_count + 3)) if beside else PLOT_LINES
    drawn = terminal_plot(found, room if beside else console.width, lines) if plot else None
    if drawn is not None and beside:
        both = Table.grid(padding=(0, GAP, 0, 0))
        both.add_row(shown, drawn)
        console.print(both)
    else:
        console.print(shown)
    if gone:
        console.print(left_out_line(gone), style="dim", highlight=False)
    if drawn is not None and not beside:
        console.print(drawn)
