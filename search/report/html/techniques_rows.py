"""The third section of a report: what each technique alone is worth, beside the joint search, as text."""

from __future__ import annotations

from dataclasses import dataclass

from ..front import Front
from ..technique_table import Cell, cells, heads, remarks, shown
from ..techniques import SEARCH, techniques


@dataclass(frozen=True)
class TechniqueRows:
    """The table of techniques.

    Attributes:
        heads: Names of the columns.
        rows: For each technique its name, what it does, and its figures, each with its interval.
        strong: The name of the row that is the search's.
        remarks: What there is to say of the table.
        missing: Names of what was never tried and can be.
        command: Tries what is missing; empty where nothing is.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]
    strong: str
    remarks: tuple[str, ...]
    missing: tuple[str, ...]
    command: str


def technique_rows(front: Front) -> TechniqueRows:
    """Return the table of techniques of a study.

    Raises:
        StorageError: A file of its folder cannot be read.
    """
    table = techniques(front)
    return TechniqueRows(
        heads=heads(table),
        rows=tuple((row.name, row.meaning, cells(row, table.metric)) for row in shown(table)),
        strong=SEARCH,
        remarks=tuple(line for line in remarks(table) if not line.startswith("not tried yet")),
        missing=table.missing,
        command=table.command,
    )
