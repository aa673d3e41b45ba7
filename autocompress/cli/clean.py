"""The command `clean`."""

from __future__ import annotations

from pathlib import Path

import click

from .paths import PATH


@click.command()
@click.argument("study", type=PATH)
@click.option("--dry-run", is_flag=True, help="Say what would be freed, and take nothing away.")
def clean(study: Path, dry_run: bool) -> None:
    """Free the disk of what STUDY cannot need any more.

    That are checkpoints of students that cannot come to the front, and what killed processes left. Every finished model
    can still be picked, exported and rebuilt, and the search goes on where it stands.
    """
    from ..search.clean import take_away
    from ..search.cleaning import opened_for_cleaning
    from ..search.store.layout import find_study_folder

    with opened_for_cleaning(find_study_folder(study)) as found:
        for why, files in found.by_reason().items():
            size = sum(file.size_bytes for file in files)
            click.echo(f"{len(files):6d} files {why}: {megabytes(size)}")
        freed = sum(file.size_bytes for file in found.spare) if dry_run else take_away(found.spare)
        words, kept = "would free" if dry_run else "freed", megabytes(found.kept_bytes)
        click.echo(f"{words} {megabytes(freed)}; checkpoints of {kept} are kept, for {found.kept_for}")


def megabytes(size_bytes: int) -> str:
    """Return a size as users read it."""
    return f"{size_bytes / 1e6:,.1f} MB"
