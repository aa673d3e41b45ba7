"""The command `pick`."""

from __future__ import annotations

import shlex
from math import isfinite
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..search.bundle import LAYOUTS
from .options import budget_asked
from .paths import PATH

POLICIES = ("accuracy", "fastest", "smallest", "knee")


@click.command()
@click.argument("study", type=PATH)
@click.option("--budget-ms", type=float, help="Latency the model must meet, on targets without a budget of their own.")
@click.option(
    "--min-accuracy",
    type=float,
    help="Metric on validation it must have; the most, where lower is better.",
)
@click.option("--budget", help="The same with a unit: 5ms, or 50% of the teacher's.")
@click.option("--speedup", type=float, help="How many times faster than the teacher it must be.")
@click.option("--max-drop", help="Of the metric below the teacher's: 1%, 1pt (a hundredth), or a number.")
@click.option("--max-mb", type=float, help="Largest file, in megabytes.")
@click.option("--max-size", help="Largest file, as a part of the teacher's: 25%.")
@click.option("--policy", type=click.Choice(POLICIES), help="What is best of those that meet all that.")
@click.option("--trial", type=int, help="Take the model of this trial, whatever it meets.")
@click.option("--layout", type=click.Choice(LAYOUTS), help="Form of the folder of --out; folder by default.")
@click.option("--out", type=PATH, help="Folder to write the bundle to; without it, only look.")
def pick(
    study: Path,
    budget: str | None,
    policy: str | None,
    trial: int | None,
    layout: str | None,
    out: Path | None,
    **limits: Any,
) -> None:
    """Choose a model of STUDY under the constraints, and write it as a bundle: a folder that stands alone."""
    from ..search.report.choice import choice_lines
    from ..search.report.reading import read_front
    from ..search.store.layout import find_study_folder

    limits |= _latency(budget, **{name: limits[name] for name in ("budget_ms", "speedup")})
    given = {f"--{name.replace('_', '-')}": value for name, value in limits.items() if value is not None}
    for name in ("budget_ms", "max_mb", "speedup"):
        value = limits[name]
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value:g}; allowed: a number above 0")
    if limits["min_accuracy"] is not None and not isfinite(limits["min_accuracy"]):
        raise UsageError(f"--min-accuracy {limits['min_accuracy']:g}; allowed: a finite number")
    if limits["budget_ms"] is not None and limits["speedup"] is not None:
        raise UsageError("both --budget-ms and --speedup were given; give one of them")
    if out is None and layout is not None:
        raise UsageError("--layout is the form of the folder that --out names; give --out too, or leave out --layout")
    if trial is not None and (given or policy is not None):
        also = ", ".join([*given, *(["--policy"] if policy is not None else [])])
        raise UsageError(f"--trial names the model; leave out {also}")
    front = read_front(find_study_folder(study))
    picked = front.pick(**limits, policy=policy) if trial is None else front.trial(trial)
    lines = choice_lines(picked)
    if out is not None:
        path = picked.save(out, layout or LAYOUTS[0])
        card = next(folder / "README.md" for folder in path.parents if (folder / "README.md").exists())
        lines.append(f"wrote {path}; its card is {card}; try it: autocompress verify {shlex.quote(str(out))}")
    for line in lines:
        click.echo(line)


def _latency(budget: str | None, budget_ms: float | None, speedup: float | None) -> dict[str, float | None]:
    """Return the budget and the speed-up that a user asks for."""
    from ..studies.budget import BudgetSection

    asked = budget_asked(budget, budget_ms)
    if asked.get("latency") is None:
        return {"budget_ms": asked["latency_ms"], "speedup": speedup}
    if speedup is not None:
        raise UsageError("both --budget and --speedup were given; give one of them")
    try:
        part = BudgetSection(latency=asked["latency"]).latency_part
    except ValueError:
        part = None
    if not part:
        raise UsageError(f"--budget {budget}; allowed: milliseconds such as 5ms, or a part of the teacher's: 50%")
    return {"budget_ms": None, "speedup": 1 / part}
