"""An export takes the place of no measured file, and lets nothing pass that is no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from simulated_study import write_study

from autocompress.errors import StorageError
from autocompress.evaluators.score import PARITY, relative_difference
from autocompress.search.export import teacher_file
from autocompress.spaces.target import Target

Cli = Callable[..., tuple[int, str, str]]


def test_the_teachers_file_is_its_runtimes(tmp_path: Path) -> None:
    """What else is called teacher there is what was seen of its latencies."""
    target = Target("onnxruntime")
    folder = tmp_path / "targets" / target.name
    folder.mkdir(parents=True)
    for name in ("teacher.jsonl", "teacher.aaa", "teacher.zzz"):
        (folder / name).write_text("{}")
    with pytest.raises(StorageError, match=r"teacher\.onnx: the teacher's file is gone"):
        teacher_file(tmp_path, target)
    (folder / "teacher.onnx").write_text("")
    assert teacher_file(tmp_path, target) == folder / "teacher.onnx"


@pytest.mark.parametrize(
    ("out", "why"), [("simulated/trials/0001", "in the study"), ("file", "is a file"), ("file/x", "is a file")]
)
def test_nothing_is_written_into_a_study_or_a_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    write_study(tmp_path / "simulated", 8)
    before = sorted(tmp_path.rglob("*"))
    code, _, err = cli("export", "simulated", "--trial", "1", "--to", "onnxruntime", "--out", out)
    assert code == 2 and len(err.splitlines()) == 1 and why in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_users_own_files_are_not_replaced(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path / "simulated", 8)
    mine = tmp_path / "models" / "onnxruntime" / "model.onnx"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    command = ("export", "simulated", "--trial", "1", "--to", "onnxruntime", "--out", "models")
    code, _, err = cli(*command)
    assert code == 2 and len(err.splitlines()) == 1 and "model.onnx would be lost" in err
    for content, part in (
        ('{"study": "x", "trial": 1, "files": [{"path": "onnxruntime/model.onnx"}]}', "searched from Python"),
        ('{"study": "x", "trial": 1, "files": [], "written": ["onnxruntime/model.onnx"]}', "searched from Python"),
        ('{"mine": 1}', "export.json would be lost"),
        ("[]", "export.json would be lost"),
    ):
        (tmp_path / "models" / "export.json").write_text(content)
        assert part in cli(*command)[2]
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_differs_from_everything(wrong: float) -> None:
    right, broken = np.zeros((2, 3), np.float32), np.full((2, 3), wrong, np.float32)
    for got, expected in ((right, broken), (broken, right), (broken, broken)):
        assert relative_difference(got, expected) > PARITY
    assert relative_difference(right, right) == 0
