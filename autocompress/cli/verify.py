"""The command `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .paths import PATH

if TYPE_CHECKING:
    from ..search.bundle.verify import Verified


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--no-latency", is_flag=True, help="Check files and answers alone, and time nothing.")
def verify(bundle: Path, no_latency: bool) -> None:
    """Check BUNDLE: its files, its answers to its samples, its latency here. torch is not needed for it."""
    from ..search.bundle.verify import check_files
    from ..search.bundle.verify import verify as look

    click.echo(f"{bundle}: {check_files(bundle)} files are as they were written")
    for found in look(bundle, timed=not no_latency):
        for line in _lines(found):
            click.echo(line)


def _lines(found: Verified) -> list[str]:
    from ..evaluators.measurement import ms_text

    said, there = found.said, found.said.latency
    lines = []
    if found.difference is not None:
        lines.append(
            f"{found.target}: answers to {found.samples} samples differ by {found.difference:.2g} of the largest, "
            f"allowed {said.tolerance:g}"
        )
    elif found.reason:
        lines.append(f"{found.target}: answers were not checked here: {found.reason}")
    here = found.latency
    if here is None:
        return lines
    if here.high_ms < there.low_ms or here.low_ms > there.high_ms:
        low, high = here.low_ms / there.high_ms, here.high_ms / there.low_ms
        verdict = f"{here.p50_ms / there.p50_ms:.2f} times as long here ({low:.2f} to {high:.2f})"
    else:
        verdict = "the intervals overlap"
    lines += [
        f"{found.target}: p50 here  {ms_text(here.p50_ms)} ms ({here.interval_text}) on "
        f"{here.conditions.get('device_name')}" + (" (disturbed)" if here.disturbed else ""),
        f"{found.target}: p50 there {ms_text(there.p50_ms)} ms ({there.interval_text}) on "
        f"{there.conditions.get('device_name')}: {verdict}",
    ]
    return lines
