"""The commands `status` and `studies`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from ..errors import UsageError
from .paths import PATH

EVERY_S = 2.0


@click.command()
@click.argument("study", type=PATH)
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(study: Path, watch: bool, as_json: bool) -> None:
    """Tell how STUDY stands: what runs, what ended and how, the best model so far, the time left."""
    from ..search.report.standing import read_standing
    from ..search.store.layout import find_study_folder

    folder = find_study_folder(study)
    try:
        while True:
            standing = read_standing(folder)
            if as_json:
                click.echo(json.dumps(standing.as_plain()))
            else:
                if watch:
                    click.clear()
                click.echo(f"{folder.name}")
                for name, words in standing.lines():
                    click.echo(f"  {name:8}{words}")
            if not watch:
                return
            time.sleep(EVERY_S)
    except KeyboardInterrupt:
        if not watch:
            raise


@click.command()
@click.argument("runs", type=PATH, default=Path("runs"))
def studies(runs: Path) -> None:
    """List the studies in RUNS, a folder of studies: which run, and the best model of each."""
    from ..search.report.standing import list_studies

    if not runs.is_dir():
        raise UsageError(f"{runs} is no folder; give the one that studies lie in, such as runs")
    found = list_studies(runs)
    if not found:
        raise UsageError(f"{runs} holds no study; `autocompress search` makes one")
    name, state, count = (max(len(row[column]) for row in found) for column in range(3))
    for row in found:
        click.echo(f"{row[0]:{name}}  {row[1]:{state}}  {row[2]:>{count}} finished  {row[3]}")
