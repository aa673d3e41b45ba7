"""The command `space`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import RUN_CODE, find_study
from .paths import STUDY

if TYPE_CHECKING:
    from ..studies.study_file import StudyFile


@click.command()
@click.argument("study", type=STUDY, required=False)
@click.option("--task", "task_spec", help="Your own task: my_task.py, my_task.py:function or module:function.")
@RUN_CODE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def space(study: str | None, task_spec: str | None, run_code: bool, as_json: bool) -> None:
    """Show every layer and group of STUDY, the choices it has, and what was left out and why."""
    import json

    from ..errors import StorageError
    from ..files import read_object
    from .space_table import print_space

    folder = Path(study or "")
    known = next((p for p in (folder, Path("runs") / folder) if study and (p / "space.json").exists()), None)
    if known is not None and task_spec is None:
        from ..search.store.settings import check_format

        check_format(known)
        described = read_object(known / "space.json") or {}
        if missing := {"layers", "variables", "left_out", "profile", "patterns"} - described.keys():
            raise StorageError(f"{known / 'space.json'}: damaged, lacks {min(missing)}; delete it and search on")
    else:
        described = _described(find_study(study, task_spec, run_code))
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        print_space(described)


def _described(settings: StudyFile) -> dict[str, Any]:
    """Return the space of a study as it is before its targets were measured; nothing is trained or measured."""
    from ..search.evaluate.look import look_at_teacher
    from ..search.prepare.space import space_without_measuring
    from ..search.report.space_report import describe_space

    task = settings.build_task().prepared()
    network = look_at_teacher(task, settings.space.axes)
    space = space_without_measuring(network, settings)
    return describe_space(space, network.all_left_out, settings.target.targets(), {})
