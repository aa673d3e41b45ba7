"""The command `report`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import StorageError
from .page import page_options, show_page


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The HTML file; by default in the study.",
)
@click.option("--live", is_flag=True, help="The page loads itself again, as that of a running search does.")
@page_options
def report(study: Path, out: Path | None, live: bool, show: bool, pdf: Path | None, png: Path | None) -> None:
    """Write the report of STUDY, a study's folder or its name: one HTML file that needs no network."""
    from ..search.report.html.build import FILE, write_report
    from ..search.report.html.record import read_record
    from ..search.store.layout import find_study_folder

    folder = find_study_folder(study)
    path, record = out or folder / FILE, read_record(folder)
    try:
        write_report(record, path, live)
    except StorageError:
        if out is not None:
            raise
        path = Path(f"{folder.name}-{FILE}")  # the study lies where nothing can be written
        write_report(record, path, live)
    show_page(path, show, pdf, png)
