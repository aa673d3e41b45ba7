"""The command `repair`."""

from __future__ import annotations

from pathlib import Path

import click

from .paths import PATH


@click.command()
@click.argument("study", type=PATH)
def repair(study: Path) -> None:
    """Make the database of STUDY anew from the trials' own files, where it is lost or damaged.

    A damaged one is kept beside it, under another name. What was unfinished is swept.
    """
    from ..search.repair import repair as make
    from ..search.store.layout import find_study_folder

    for line in make(find_study_folder(study)):
        click.echo(line)
