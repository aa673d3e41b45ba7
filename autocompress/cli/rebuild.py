"""The command `rebuild`."""

from __future__ import annotations

from pathlib import Path

import click

from .options import RUN_CODE
from .paths import PATH


@click.command()
@click.argument("recipe", type=PATH)
@click.option("--out", type=PATH, default=Path("rebuilt"), show_default=True, help="A new folder for it.")
@click.option("--task", "task_spec", help="The study's task, where it was searched from Python.")
@click.option(
    "--data",
    type=PATH,
    help="Folder of the files that the study names.",
)
@click.option("--teacher", type=PATH, help="Weights of the teacher, not to train it again.")
@RUN_CODE
def rebuild(
    recipe: Path, out: Path, task_spec: str | None, data: Path | None, teacher: Path | None, run_code: bool
) -> None:
    """Make the student of RECIPE, a bundle's recipe.toml, again, and compare its figures with the first ones.

    Code that a recipe from elsewhere names runs only with --run-code. Exit code 1 says that a figure does not agree.
    """
    from ..search.bundle.rebuild import first_files
    from ..search.bundle.rebuild import rebuild as make
    from ..search.bundle.recipe import read_recipe
    from ..studies.task import load_task

    path = recipe / "recipe.toml" if recipe.is_dir() else recipe
    found = read_recipe(path)
    task = None if task_spec is None else load_task(task_spec)
    first, beside = first_files(found, path.parent), path.parent
    made = make(found, out, task, data, teacher, first, lambda line: click.echo(line, err=True), beside, run_code)
    for line in made.other:
        click.echo(line)
    width = max(len(each.name) for each in made.compared)
    for each in made.compared:
        verdict = "agrees" if each.within else "DOES NOT AGREE"
        click.echo(f"{each.name:<{width}}  first {each.first}; again {each.again}: {verdict}")
    click.echo(f"{', '.join(map(str, made.files.values()))}: all figures agree" if made.within else "not all agree")
    if not made.within:
        raise SystemExit(1)
