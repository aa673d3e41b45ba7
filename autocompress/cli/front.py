"""The command `front`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from .paths import PATH
from .show import print_front, print_techniques


@click.command()
@click.argument("study", type=PATH)
@click.option("--csv", "form", flag_value="csv", help="All trials as CSV, every decision a column.")
@click.option("--json", "form", flag_value="json", help="All trials as JSON, one object a trial.")
@click.option("--parquet", type=PATH, help="Write all trials to this Parquet file.")
@click.option("--techniques", is_flag=True, help="What each technique is worth by itself, beside the search.")
@click.option("--no-plot", is_flag=True, help="The table alone, without the plot that terminals show beside it.")
@click.option("--plot", type=PATH, help="Write a picture of the front (.svg or .png).")
def front(
    study: Path, form: str | None, parquet: Path | None, plot: Path | None, no_plot: bool, techniques: bool
) -> None:
    """Print the front of STUDY, a study's folder or its name."""
    if techniques and form == "csv":
        raise UsageError("--techniques is a table or --json; leave out --csv")
    from ..files import given_file
    from ..search.report.reading import read_front
    from ..search.store.layout import find_study_folder

    found = read_front(find_study_folder(study))
    if parquet is not None:
        with given_file(parquet):
            found.to_pandas().to_parquet(parquet)
    if plot is not None:
        from ..search.report.plot import plot as draw

        draw(found, plot)
    if techniques:
        print_techniques(found, as_json=form == "json")
    elif form == "csv":
        click.echo(found.to_pandas().to_csv(index=False), nl=False)
    elif form == "json":
        click.echo(found.to_pandas().to_json(orient="records", indent=1))
    elif parquet is None:
        print_front(found, plot=not no_plot)
