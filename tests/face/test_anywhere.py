"""Every study that `search` can begin is found again, from its own folder and from another one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., tuple[int, str, str]]

STUDY = """
[task]
from = "mine.py:make"
[target]
profile_seconds = 0
learn_seconds = 0
precision = 0.5
[space]
axes = ["bits"]
[recovery]
epochs = 0.1
[search]
trials = 1
baselines = ["none"]
without = ["latency_model", "sensitivity", "learned"]
"""


@pytest.fixture
def home(tmp_path: Path, tiny_task: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ./autocompress.toml, whose task imports a module that lies beside it."""
    folder = tmp_path / "home"
    shutil.copytree(tiny_task.parent, folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    (folder / "mine.py").write_text("from tiny_task import task\n\ndef make():\n    return task()\n")
    (folder / "autocompress.toml").write_text(STUDY)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_sensitivity_and_space_of_a_study_that_lies_here(cli: Cli, home: Path) -> None:
    for command in ("sensitivity", "space"):
        code, _, err = cli(command)
        assert code == 0, err
        assert "taking ./autocompress.toml, which runs mine.py:make" in err
    assert cli("sensitivity", "--task", "mine.py:make")[0] == 0


def test_a_study_file_is_read_from_elsewhere(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.with_name("elsewhere"))
    assert cli("space", "../home/autocompress.toml")[0] == 0
    assert cli("space", "--task", "../home/mine.py:make")[0] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_a_study_that_was_begun_is_used_from_elsewhere(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = cli("search", "--quiet")
    assert code == 0, err + out
    study = home / "runs" / "autocompress"
    monkeypatch.chdir(home.with_name("elsewhere"))
    for command in (("sensitivity", study), ("export", study, "--trial", "1", "--to", "onnxruntime")):
        code, out, err = cli(*command)
        assert code == 0, err + out
    assert Path("export/onnxruntime/model.onnx").is_file()


def test_a_search_without_a_limit_says_how_it_ends(home: Path) -> None:
    from autocompress.errors import AutoCompressError
    from autocompress.search.run import run_search
    from autocompress.search.watch import Silent
    from autocompress.studies.study_file import load_study

    said: list[str] = []

    class Told(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    (home / "mine.py").write_text("def make(): raise RuntimeError('far enough')")
    study = load_study(home / "autocompress.toml")
    for changes, told in (({"trials": None}, True), ({}, False), ({"trials": None, "minutes": 1.0}, False)):
        said.clear()
        with pytest.raises(AutoCompressError, match="far enough"):
            run_search(study.changed("search", **changes), None, home / "runs", watcher=Told())
        assert any("until Ctrl-C" in line for line in said) == told
