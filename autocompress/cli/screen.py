"""The terminal, or the file that takes its place."""

from __future__ import annotations

from rich.console import Console


def screen(file_columns: int | None = None) -> Console:
    """Return a console that prints text as it is.

    Names of folders and what libraries say are no markup: "[openvino]" is to be read, and ":bee:" is no picture.

    Args:
        file_columns: Columns where the output is no terminal, as wide as it needs to be; None leaves that to rich.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal or file_columns is None:
        return console
    return Console(highlight=False, markup=False, emoji=False, width=file_columns)
