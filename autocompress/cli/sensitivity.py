"""The command `sensitivity`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import RUN_CODE, find_study
from .paths import STUDY


@click.command()
@click.argument("study", type=STUDY, required=False)
@click.option("--task", "task_spec", help="Your own task: my_task.py, my_task.py:function or module:function.")
@RUN_CODE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sensitivity(study: str | None, task_spec: str | None, run_code: bool, as_json: bool) -> None:
    """Show how much each decision alone harms the teacher of STUDY: bits and zeros by layer, channels by group.

    STUDY is a study's folder or its name under runs/, else a .toml file or a bundled study, as for `search`. Measured
    on calibration inputs, without labels and without training; kept in the user's cache folder.
    """
    import json

    from ..search.prepare.sensitivities import sensitivity_without_measuring_latency as measure
    from ..search.store.settings import read_settings, settings_path
    from ..spaces.plain import to_plain
    from .sensitivity_table import print_sensitivity

    def say(line: str) -> None:
        click.echo(line, err=True)

    paths = (Path(study), Path("runs") / study) if study else ()
    folder = next((path for path in paths if settings_path(path).exists()), None)
    if folder is None:
        found = measure(find_study(study, task_spec), say=say)
    else:
        from ..studies.task import load_task

        task = None if task_spec is None else load_task(task_spec)
        found = measure(read_settings(folder), folder, task, say, run_code)
    if as_json:
        click.echo(json.dumps(to_plain(found), indent=1))
    else:
        print_sensitivity(found)
