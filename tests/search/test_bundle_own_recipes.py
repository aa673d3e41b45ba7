"""A recipe's code runs unasked for whoever wrote the recipe, as long as it is the same code, and for nobody else."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress import BundleError, Front, UsageError
from autocompress.search.bundle.own_recipes import check_own_recipe, recipe_key
from autocompress.search.bundle.rebuild import _settings
from autocompress.search.bundle.recipe import Ingredient, Recipe, read_recipe, toml_text
from autocompress.search.bundle.sources import sources_of
from autocompress.search.store.made_here import FILE
from autocompress.search.store.settings import read_settings, write_settings
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.study_file import StudyFile

EVIL = """
from pathlib import Path
Path(__file__).with_name("touched").touch()
def task(): raise SystemExit("stop here")
"""


@pytest.fixture
def study(finished: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Front:
    """A study of a task that lies in a file, begun here."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(EVIL)
    folder = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    settings = read_settings(folder).model_copy(update={"path": tmp_path / "autocompress.toml"})
    write_settings(folder, settings.changed("task", **{"from": "theirs.py"}))
    return replace(finished, folder=folder)


Cli = Callable[..., tuple[int, str, str]]


def test_a_recipe_from_elsewhere_runs_no_code(
    study: Front, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.pick().save(tmp_path / "deploy")
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "of_another_user"))
    code, _, err = cli("rebuild", "deploy")
    assert code == 2 and len(err.splitlines()) == 1
    assert "theirs.py" in err and "--run-code" in err and "--task" in err
    assert not (tmp_path / "touched").exists() and not (tmp_path / "rebuilt").exists()
    assert cli("rebuild", "deploy", "--run-code")[0] == 2
    assert (tmp_path / "touched").exists(), "told to, it runs"


def test_a_recipe_of_ones_own_runs_its_code_until_that_is_changed(study: Front, tmp_path: Path) -> None:
    folder = study.pick().save(tmp_path / "deploy").parent
    recipe = read_recipe(folder / "recipe.toml")
    settings = _settings(recipe, None, folder, needs_task=True)
    check_own_recipe(recipe, settings)
    for other in (
        replace(recipe, choices={**recipe.choices, "another": 1}),
        replace(recipe, sources={}),
        replace(recipe, students=recipe.students * 2),
    ):
        with pytest.raises(UsageError, match="--run-code"):
            check_own_recipe(other, settings)
    for source in ("module:task", "other.py"):
        with pytest.raises(UsageError, match="--run-code"):
            check_own_recipe(recipe, settings.changed("task", **{"from": source}))
    (tmp_path / "theirs.py").write_text(EVIL + "# and more\n")
    with pytest.raises(UsageError, match="changed since"):
        check_own_recipe(recipe, settings)


def test_a_recipe_of_a_study_from_elsewhere_is_not_ones_own(study: Front, tmp_path: Path) -> None:
    (study.folder / FILE).unlink()
    folder = study.pick().save(tmp_path / "deploy").parent
    recipe = read_recipe(folder / "recipe.toml")
    with pytest.raises(UsageError, match="--run-code"):
        check_own_recipe(recipe, _settings(recipe, None, folder, needs_task=True))


def test_a_file_of_another_study_is_no_source(tmp_path: Path) -> None:
    """A study of --task lies beside ./autocompress.toml, whatever that holds."""
    path = tmp_path / "autocompress.toml"
    path.write_text("[task]\nfrom = 'other.py'\n")
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "net.py").write_text("")
    settings = StudyFile(path=path)
    assert set(sources_of(settings.changed("task", **{"from": "mine.py"}))) == {"mine.py"}
    assert set(sources_of(settings.changed("task", **{"from": "other.py"}))) == {"autocompress.toml"}
    assert set(sources_of(settings.changed("teacher", model="net.py:net", epochs=1))) == {"net.py"}


def test_what_was_begun_is_gone_on_with_and_other_folders_are_left(study: Front, cli: Cli, tmp_path: Path) -> None:
    from autocompress.files import write_json
    from autocompress.search.bundle.rebuild import BEGUN

    folder = study.pick().save(tmp_path / "deploy").parent
    out = tmp_path / "again"
    key = recipe_key(read_recipe(folder / "recipe.toml"))
    write_json(out / BEGUN, {"recipe": key, "data": None, "teacher": None})
    (out / "teacher.jsonl").write_text("")
    assert "stop here" in cli("rebuild", "deploy", "--out", "again")[2], "it goes on, into the code of its task"
    write_json(out / BEGUN, {"recipe": key, "data": "/elsewhere", "teacher": None})
    assert "not empty" in cli("rebuild", "deploy", "--out", "again")[2]
    for damaged in ("{", "[]"):
        (out / BEGUN).write_text(damaged)
        code, _, err = cli("rebuild", "deploy", "--out", "again")
        assert code == 2 and len(err.splitlines()) == 1
        assert f"{BEGUN}: damaged" in err and "give another folder" in err and "--fresh" not in err
    code, _, err = cli("rebuild", "deploy", "--out", "theirs.py")
    assert code == 2 and len(err.splitlines()) == 1 and "is a file" in err


@pytest.mark.parametrize("table", ["students", "validation", "latency"])
def test_a_recipe_that_lacks_something_is_told_in_one_line(bundle: Path, tmp_path: Path, table: str) -> None:
    text = (bundle / "recipe.toml").read_text()
    if table == "students":
        lines = ["students = []" if line.startswith("students = ") else line for line in text.splitlines()]
    else:
        tables = text.split("\n\n")
        lines = "\n\n".join(t for t in tables if not t.startswith(f"[{table}")).splitlines()
        lines.insert(0, f"{table} = {{}}")
    (tmp_path / "recipe.toml").write_text("\n".join(lines))
    with pytest.raises(BundleError, match="is no recipe: it has no"):
        read_recipe(tmp_path / "recipe.toml")


def test_a_recipe_of_an_earlier_version_keeps_its_key(tmp_path: Path) -> None:
    taught = StudentSpec({"g": 4}, {"x": 8}, recovery=Recovery(alpha=0.5))
    students = (Ingredient(3, taught), Ingredient(5, StudentSpec()))
    now = Recipe({"name": "a"}, students, {}, {}, {}, {}, None, {})
    then = "166f231e0ae851372655ddfc8dc61d2a16d0a8152a4df07e52589b672cdd9c7c"
    assert recipe_key(now) == then, "as the version before these parts has it"
    other = replace(now, calibration={"onnxruntime": "mse+biases"})
    assert recipe_key(other) != recipe_key(now)
    assert recipe_key(from_plain(Recipe, {"test": None, **tomllib.loads(toml_text(to_plain(other)))})) == recipe_key(
        other
    )
