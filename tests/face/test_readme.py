"""What the README shows is what the project does."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from brief import brief_command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_marked_blocks_are_filled_from_their_files() -> None:
    spec = importlib.util.spec_from_file_location("fill_readme", ROOT / "docs" / "fill_readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.filled(README) == README


def test_every_command_shown_exists_with_its_options() -> None:
    from autocompress.cli import main

    shown = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("autocompress ")]
    assert len(shown) >= 5
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        command = main.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {w for w in words if w.startswith("--")} <= known, line


def test_every_kind_of_task_is_shown_with_its_metric() -> None:
    from autocompress.studies.kinds import KINDS

    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", README, flags=re.MULTILINE))
    for name, kind in KINDS.items():
        label = kind.metric.label
        assert rows[name] == label.name + ("" if label.maximized else ", lower is better")


def test_make_targets_shown_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.slow
def test_the_python_example_runs(briefly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As shown, but for a few quick trials in place of half an hour, and a budget that any machine keeps."""
    quick = "budget_ms=5.0, trials=3, target={'precision': 0.5, 'profile_seconds': 0, 'learn_seconds': 0}"
    (code,) = (block for block in blocks("python") if "autocompress.compress(" in block)
    (tmp_path / "example.py").write_text(code.replace("budget_ms=0.025, minutes=30", quick))
    shutil.copy(ROOT / "studies" / "my_task.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        runpy.run_path("example.py", run_name="__main__")
    finally:
        sys.modules.pop("my_task", None)
    assert (tmp_path / "deploy" / "model.onnx").exists()
    assert "sha256" in (tmp_path / "deploy" / "measurement.json").read_text()


@pytest.mark.slow
def test_the_task_with_students_of_its_own_is_one(tmp_path: Path) -> None:
    from autocompress.studies.task import load_task

    (code,) = (block for block in blocks("python") if "students={" in block)
    (tmp_path / "students.py").write_text(code)
    shutil.copy(ROOT / "studies" / "my_task.py", tmp_path)
    assert list(load_task(str(tmp_path / "students.py")).prepared().students) == ["small", "small@0.75", "small@0.5"]


@pytest.mark.slow
@pytest.mark.cluster
def test_the_example_in_ray_tune_runs(tmp_path: Path) -> None:
    """As shown, but for a few quick trials, and a budget that any machine keeps."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    quick = "budget_ms=5.0, target={'precision': 0.5, 'profile_seconds': 0, 'learn_seconds': 0}"
    (code,) = (block for block in blocks("python") if "autocompress.tune.Study(" in block)
    code = code.replace("budget_ms=0.025", quick).replace("num_samples=30", "num_samples=2")
    (tmp_path / "example.py").write_text(code)
    shutil.copy(ROOT / "studies" / "my_task.py", tmp_path)
    at_home = {**os.environ, "HOME": str(tmp_path)}  # where Tune keeps its results
    command = brief_command("example.py")
    done = subprocess.run(command, cwd=tmp_path, env=at_home, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "model.onnx" in done.stdout and (tmp_path / "deploy" / "model.onnx").exists()
