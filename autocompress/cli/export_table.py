"""Exported files on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .files_table import print_files

if TYPE_CHECKING:
    from ..search.exported import Exports


def print_exported(exports: Exports) -> None:
    """Print the teacher and one row for each target; below, which to ship, where the files lie, what they do not do."""
    from ..evaluators.shipping import which_to_ship

    files, built = exports.measured(), {entry.target: entry for entry in exports.files}
    more: dict[str, list[str]] = {"layers by bits": [], "difference": [], "same class": []}
    for file in files:
        entry = built.get(file.name)
        more["layers by bits"].append("" if entry is None or entry.path is None else _bits(entry.bits))
        more["difference"].append("" if entry is None else _or_dash(entry.difference, ".1e"))
        more["same class"].append("" if entry is None else _or_dash(entry.agreement, ".1%"))
    sentence = which_to_ship(files, exports.label, exports.examples, exports.least)
    print_files(files, exports.label, sentence, more, rates=False)
    click.echo("difference: the largest from the student's outputs, relative to the largest output")
    for entry in exports.files:
        if entry.path is not None:
            click.echo(f"{entry.target}: {entry.path}")
        for words in filter(None, (entry.reason, entry.remark)):
            click.echo(f"{entry.target}: {words}")


def _bits(bits: Mapping[str, int]) -> str:
    """Return how many layers have less than 32 bits."""
    counts = Counter(bits.values())
    return ", ".join(f"{count} in {width}" for width, count in sorted(counts.items())) or "all in 32"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
