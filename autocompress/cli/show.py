"""A finished search on the screen, or in a file."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from .fit import TECHNIQUES_SPARED, left_out_line, narrowed, print_table

if TYPE_CHECKING:
    from ..search.report.front import Front
    from ..search.run import Outcome


def print_front(found: Front, plot: bool = False) -> None:
    """Print the table, for a terminal or for a file.

    Args:
        found: The front.
        plot: Whether a terminal that is wide enough shows a plot too.
    """
    from ..search.report import table

    if sys.stdout.isatty():
        from .screen import screen

        console = screen()
        print_table(console, found, table.rich_table(found), plot)
        below = (table.files_line(found), table.legend(found), *table.remarks(found), *table.measured_to_pay(found))
        for line in below:
            console.print(line, style="dim", highlight=False, soft_wrap=True)
        console.print(table.verdict(found), style="bold", highlight=False, soft_wrap=True)
        return
    below = (table.legend(found), *table.remarks(found), *table.measured_to_pay(found), table.verdict(found))
    for line in (*table.plain_lines(found), *below):
        click.echo(line)


def print_techniques(found: Front, as_json: bool = False) -> None:
    """Print what each technique is worth by itself.

    Args:
        found: The study's front.
        as_json: Whether it is for a program.
    """
    import json

    from ..search.report import technique_table
    from ..search.report.techniques import techniques

    made = techniques(found)
    title = f"{found.folder.name}: what each technique is worth on this network"
    if as_json:
        click.echo(json.dumps(technique_table.as_plain(made), indent=1))
    elif sys.stdout.isatty():
        from .screen import screen

        console = screen()
        shown = technique_table.rich_table(made, title)
        gone = narrowed(console, shown, TECHNIQUES_SPARED)
        console.print(shown)
        if gone:
            console.print(left_out_line(gone), style="dim", highlight=False)
        for line in technique_table.remarks(made):
            console.print(line, style="dim", highlight=False, soft_wrap=True)
    else:
        for line in technique_table.plain_lines(made, title):
            click.echo(line)


def print_outcome(outcome: Outcome) -> None:
    """Print where the time went, and what to do next."""
    counts = [str(t.state) for t in outcome.front.trials]
    spent = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in sorted(outcome.seconds.items()))
    click.echo(
        f"{counts.count('finished')} trials finished, {counts.count('gated')} stopped at the gate, "
        f"{outcome.waiting} waiting at a rung, {counts.count('failed')} failed"
    )
    click.echo(f"search {outcome.search_s:.0f} s ({spent}), in all {outcome.wall_s:.0f} s")
    if outcome.outlook is not None:
        click.echo(outcome.outlook.line())
    if outcome.done:
        click.echo("ended because the front has not moved for as long as --patience says")
    if outcome.exhausted:
        click.echo("every plan of this space that can be drawn was tried")
    name = outcome.front.folder
    if not outcome.front.entries:
        return
    study = shlex.quote(str(name))
    click.echo(f"next: autocompress pick {study} --out deploy; autocompress front {study} --plot front.svg")
