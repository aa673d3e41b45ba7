"""The command `runtimes`."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runtimes(as_json: bool) -> None:
    """List the runtimes a model may ship to: whether each can be used here and why not, and what it can use."""
    import json

    from .runtime_table import describe_runtimes, print_runtimes

    described = describe_runtimes()
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        print_runtimes(described)
