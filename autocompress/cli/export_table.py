"""Exported files on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..search.export import Exported

METRIC = "metric"
HEADS = ("target", "file", "kB", "layers by bits", "difference", "same class", METRIC, "p50 ms", "95 % interval")


def print_exported(found: Sequence[Exported]) -> None:
    """Print one row for each target; below, what a file does not do, and why."""
    table = Table(box=box.SIMPLE_HEAD)
    metric = next((entry.metric for entry in found if entry.accuracy is not None), "accuracy")
    for head in HEADS:
        head = metric if head == METRIC else head
        table.add_column(head, overflow="fold", justify="left" if head in ("target", "file") else "right")
    for entry in found:
        latency = entry.latency
        table.add_row(
            entry.target,
            "-" if entry.path is None else str(entry.path),
            "-" if entry.path is None else f"{entry.size_bytes / 1000:.0f}",
            "-" if entry.path is None else _bits(entry.bits),
            *(_or_dash(value, form) for value, form in (
                (entry.difference, ".1e"), (entry.agreement, ".1%"), (entry.accuracy, ".4f"),
                (latency.p50_ms if latency else None, ".3f"),
            )),
            "-" if latency is None else f"{latency.low_ms:.3f} to {latency.high_ms:.3f}",
        )  # fmt: skip
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=150)  # a file is as wide as it needs to be
    console.print(table)
    console.print("difference: the largest from the student's outputs, relative to the largest output", style="dim")
    for entry in found:
        disturbed = "measured while other work ran" if entry.latency and entry.latency.disturbed else ""
        for words in filter(None, (entry.reason, entry.remark, disturbed)):
            console.print(f"{entry.target}: {words}")


def _bits(bits: Mapping[str, int]) -> str:
    """Return how many layers have less than 32 bits."""
    counts = Counter(bits.values())
    return ", ".join(f"{count} in {width}" for width, count in sorted(counts.items())) or "all in 32"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
