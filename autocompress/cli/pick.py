"""The command `pick`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--budget-ms", type=float, help="Latency the model must meet, on targets without a budget of their own.")
@click.option(
    "--min-accuracy",
    type=float,
    help="Metric on validation it must have; the most, where lower is better.",
)
@click.option("--speedup", type=float, help="How many times faster than the teacher it must be.")
@click.option("--max-drop", help="Of the metric below the teacher's: 1%, 1pt (a hundredth), or a number.")
@click.option("--max-mb", type=float, help="Largest file, in megabytes.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to copy the model to.")
def pick(
    study: Path,
    budget_ms: float | None,
    min_accuracy: float | None,
    speedup: float | None,
    max_drop: str | None,
    max_mb: float | None,
    out: Path,
) -> None:
    """Copy the most accurate model of STUDY under the constraints, with its card."""
    from ..search.report.front import line
    from ..search.report.reading import read_front
    from ..search.store.layout import find_study_folder

    for name, value in (("budget-ms", budget_ms), ("max-mb", max_mb), ("speedup", speedup)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name} {value:g}; allowed: a number above 0")
    if budget_ms is not None and speedup is not None:
        raise UsageError("both --budget-ms and --speedup were given; give one of them")
    picked = read_front(find_study_folder(study)).pick(budget_ms, min_accuracy, max_mb, max_drop, speedup)
    path = picked.save(out)
    click.echo(f"{path}: {line(picked.entry)}; its card is {out / 'README.md'}")
