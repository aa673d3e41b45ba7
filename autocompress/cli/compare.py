"""The command `compare`."""

from __future__ import annotations

from pathlib import Path

import click

from .page import page_options, show_page
from .paths import PATH


@click.command()
@click.argument("studies", nargs=-1, required=True, type=PATH)
@click.option(
    "--csv",
    "tables",
    multiple=True,
    type=PATH,
    help="Models measured elsewhere: name, metric, latency_ms, optionally size_bytes and others; repeatable.",
)
@click.option("--out", type=PATH, default=Path("compare.html"), help="The HTML file.")
@page_options
def compare(
    studies: tuple[Path, ...], tables: tuple[Path, ...], out: Path, show: bool, pdf: Path | None, png: Path | None
) -> None:
    """Compare the fronts of STUDIES in one HTML file: hypervolumes, and what dominates what."""
    from ..search.report.html.compare_page import compare_studies
    from ..search.store.layout import find_study_folder

    comparison = compare_studies([find_study_folder(study) for study in studies], tables, out)
    for line in (*comparison.sentences, *comparison.warnings):
        click.echo(line)
    show_page(out, show, pdf, png)
