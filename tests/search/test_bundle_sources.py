"""Recipes of bundles: they name no place of the machine that searched, and their files are found again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress import BundleError, Front
from autocompress.files import digest
from autocompress.search.bundle.recipe import read_recipe
from autocompress.search.bundle.sources import changed, find_folder, portable


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/somewhere/ann/mine/data/train.csv", "data/train.csv"),
        ("/somewhere/bob/my_task.py:task", "my_task.py:task"),
        ("C:\\Users\\ann\\task.py", "task.py"),
        ("data/train.csv", "data/train.csv"),
        ("module:function", "module:function"),
        ("/", "."),
        ("", ""),
    ],
)
def test_a_recipe_tells_no_absolute_path(text: str, told: str) -> None:
    folder = Path("/somewhere/ann/mine")
    assert portable({"a": [{"b": text}], "c": 1}, folder) == {"a": [{"b": told}], "c": 1}


def test_a_bundle_holds_no_place_of_the_machine_that_searched(finished: Front, tiny_task: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(finished.folder, tmp_path / finished.folder.name))
    settings = json.loads((study / "study.json").read_text())
    settings["path"], settings["task"]["from"] = str(tiny_task.parent / "autocompress.toml"), str(tiny_task)
    (study / "study.json").write_text(json.dumps(settings))
    facts = json.loads((study / "task.json").read_text())
    facts["preprocessing"] = {**(facts.get("preprocessing") or {}), "tokenizer": str(tmp_path / "own.json")}
    (study / "task.json").write_text(json.dumps(facts))
    (tmp_path / "own.json").write_text("{}")
    folder = replace(finished, folder=study).pick().save(tmp_path / "deploy", "hub").parent
    texts = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix not in (".onnx", ".npz")}
    for place in (tiny_task.parent, tmp_path, Path.home()):
        assert [path for path, text in texts.items() if str(place).encode() in text] == []
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.study["task"]["from"] == tiny_task.name and recipe.sources == {tiny_task.name: digest(tiny_task)}
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_the_files_of_a_study_are_found_here_or_above_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other, elsewhere = (tmp_path / name for name in ("project", "other", "elsewhere"))
    for folder in (project / "out" / "deploy", other, elsewhere):
        folder.mkdir(parents=True)
    (project / "task.py").write_text("1")
    sources = {"task.py": digest(project / "task.py")}
    monkeypatch.chdir(elsewhere)
    assert find_folder(sources, project / "out" / "deploy") == project
    assert find_folder({}, project) == elsewhere
    (elsewhere / "task.py").write_text("changed")
    assert find_folder(sources, project / "out" / "deploy") == project  # the very same file goes before
    assert find_folder(sources, other) == elsewhere and changed(sources, elsewhere) == ["task.py"]
    monkeypatch.chdir(other)
    with pytest.raises(BundleError, match="--data"):
        find_folder(sources, other)


def test_a_recipe_of_an_earlier_version_is_read(bundle: Path, tmp_path: Path) -> None:
    text = (bundle / "recipe.toml").read_text()
    kept = "".join(line for line in text.split("[sources]")[0].splitlines(keepends=True))
    (tmp_path / "recipe.toml").write_text(kept.replace("format = 1", 'format = 1\nfolder = "/gone"', 1))
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.folder == "/gone" and recipe.sources == {}
