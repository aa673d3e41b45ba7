"""Models that were measured elsewhere, read from a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ....errors import UsageError

NEEDED = ("name", "metric", "latency_ms")
ALLOWED = (
    "size_bytes", "compressed_bytes", "metric_low", "metric_high", "latency_low_ms", "latency_high_ms", "memory_mb",
    "energy_mj",
)  # fmt: skip


@dataclass(frozen=True)
class Baseline:
    """One model that was measured elsewhere.

    Attributes:
        name: What it is called.
        figures: Column -> value, of `metric`, `latency_ms` and those of ALLOWED that its row has.
    """

    name: str
    figures: Mapping[str, float]

    def get(self, column: str) -> float | None:
        """Return a figure, None where its row has none."""
        return self.figures.get(column)


def read_baselines(path: Path) -> list[Baseline]:
    """Return the models of a CSV file with a head line.

    Raises:
        UsageError: It cannot be read, a column is missing or unknown, or a figure is no number; names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            heads = [head.strip() for head in reader.fieldnames or []]
            rows = [(reader.line_num, {(k or "").strip(): v for k, v in row.items()}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error}); give a text file with a head line") from None
    missing = [head for head in NEEDED if head not in heads]
    strange = [head for head in heads if head not in (*NEEDED, *ALLOWED)]
    if missing or strange:
        what = f"column {missing[0]!r} is missing" if missing else f"unknown column {strange[0]!r}"
        raise UsageError(f"{path}: {what}; needed: {', '.join(NEEDED)}; allowed besides: {', '.join(ALLOWED)}")
    if twice := next((head for head in heads if heads.count(head) > 1), None):
        raise UsageError(f"{path}: column {twice!r} is there twice; keep one")
    for line, row in rows:
        more = row.get("") or []
        if any(cell.strip() for cell in more):
            cells = f"{len(heads) + len(more)} cells for {len(heads)} columns"
            raise UsageError(f"{path}, line {line}: {cells}; write decimals with a point")
    if not rows:
        raise UsageError(f"{path}: no models in it; give a line for each")
    return [_baseline(path, line, row) for line, row in rows]


def _baseline(path: Path, line: int, row: Mapping[str, str | None]) -> Baseline:
    figures = {}
    for column in (*NEEDED[1:], *ALLOWED):
        text = (row.get(column) or "").strip()
        if not text and column not in NEEDED:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (column not in ("metric", "metric_low", "metric_high") and value <= 0):
            raise UsageError(
                f"{path}, line {line}: {column} is {text!r}; allowed: a number, above 0 but for the metric"
            )
        figures[column] = value
    return Baseline((row["name"] or "").strip() or f"line {line}", figures)
