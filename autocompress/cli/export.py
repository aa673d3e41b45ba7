"""The command `export`."""

from __future__ import annotations

from pathlib import Path

import click

from .app import fail
from .options import RUN_CODE
from .paths import PATH


@click.command()
@click.argument("study", type=PATH)
@click.option("--trial", type=int, required=True, help="Number of a finished trial.")
@click.option("--to", required=True, help="Runtimes, such as openvino,litert,tensorrt@cuda.")
@click.option("--out", type=PATH, default=Path("export"), show_default=True)
@click.option("--task", "task_spec", help="The study's task, where it was searched from Python.")
@RUN_CODE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(study: Path, trial: int, to: str, out: Path, task_spec: str | None, run_code: bool, as_json: bool) -> None:
    """Build one trial of STUDY for other runtimes, each file checked against the student it was built from."""
    import json

    from ..search.export import export as build
    from ..search.store.layout import find_study_folder
    from .export_table import print_exported

    names = list(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    task = None
    if task_spec is not None:
        from ..studies.task import load_task

        task = load_task(task_spec)
    found = build(find_study_folder(study), trial, names, out, task, lambda line: click.echo(line, err=True), run_code)
    if as_json:
        click.echo(json.dumps(json.loads((out / "export.json").read_text()), indent=1))
    else:
        print_exported(found)
    missing = [entry for entry in found.files if entry.path is None]
    if missing:
        fail("; ".join(f"{entry.target}: {entry.reason}" for entry in missing))
