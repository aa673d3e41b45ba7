"""Measured files on the screen: a table, and which to ship."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from .fit import left_out_line, narrowed
from .screen import screen

if TYPE_CHECKING:
    from ..evaluators.measurement import Latency
    from ..evaluators.shipping import MeasuredFile
    from ..studies.metric import MetricLabel


TIMES, RATES = ("p50 ms", "95 % interval", "p95", "p99"), ("per s", "MB")
SPARED = ("MB", "mJ", "per s", "p99", "p95", "kB", "difference", "same class", "layers by bits")
"""Columns that a narrow terminal does without, in this order: figures that are cut short tell nothing."""
NAME = 30
"""Columns that names of files have in any case."""


def print_files(
    files: Sequence[MeasuredFile],
    metric: MetricLabel | None,
    sentence: str,
    more: Mapping[str, Sequence[str]] | None = None,
    rates: bool = True,
) -> None:
    """Print one row for each file, and a sentence below.

    Args:
        files: The first is what the others are compared with.
        metric: How the metric is shown; None leaves the column out.
        sentence: Which to ship.
        more: Further columns, a text for each file.
        rates: Whether to show inputs a second, peak memory and energy too.
    """
    energy = rates and any(file.latency is not None and file.latency.energy_mj is not None for file in files)
    several = len(files) > 1
    heads = ["file", "kB", *(more or {}), *([metric.name] if metric else []), *TIMES]
    heads += [*(RATES if rates else ()), *(["mJ"] if energy else [])]
    table = Table(*heads, *(["of the first", "95 % interval", ""] if several else []), box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    table.columns[0].overflow = "fold"
    for index, file in enumerate(files):
        row = [file.name, f"{file.size_bytes / 1000:.0f}" if file.size_bytes else "-"]
        row += [texts[index] for texts in (more or {}).values()]
        row += [_or_dash(file.quality, metric.text)] if metric else []
        if file.latency is None:
            row += ["-"] * (len(table.columns) - len(row) - several) + [""] * several
        else:
            row[0] += " (disturbed)" if file.latency.disturbed else ""
            row += _times(file.latency, rates, energy)
            row += _beside_first(file.latency) if several and index else [""] * (3 * several)
        table.add_row(*row)
    console = screen(240)
    table.columns[0].max_width = NAME  # more of a name goes on in a further line
    gone = narrowed(console, table, SPARED)
    table.columns[0].max_width = None
    console.print(table)
    if gone:
        console.print(left_out_line(gone), style="dim")
    legend = "per s: inputs a second; MB: peak memory of the process; " if rates else ""
    legend += "of the first: its time over that of the first file"
    if any(file.latency is not None and file.latency.disturbed for file in files):
        legend += "; (disturbed): other work ran meanwhile"
    console.print(legend, style="dim")
    if sentence:
        console.print(sentence)


def _times(latency: Latency, rates: bool, energy: bool) -> list[str]:
    from ..evaluators.measurement import plain_figure

    found = [plain_figure(latency.p50_ms), f"{plain_figure(latency.low_ms)} to {plain_figure(latency.high_ms)}"]
    found += [plain_figure(latency.p95_ms), plain_figure(latency.p99_ms)]
    if rates:
        found += [f"{latency.throughput_per_s:,.0f}", _or_dash(latency.peak_memory_mb, lambda mb: f"{mb:.0f}")]
    return [*found, _or_dash(latency.energy_mj, plain_figure)] if energy else found


def _beside_first(latency: Latency) -> list[str]:
    from ..evaluators.shipping import verdict

    return [f"{latency.ratio:.3f}", f"{latency.ratio_low:.3f} to {latency.ratio_high:.3f}", verdict(latency)]


def _or_dash(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)
