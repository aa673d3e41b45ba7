"""An export takes the place of no measured file, and lets nothing pass that is no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from simulated_study import write_study

from autocompress.errors import MeasurementError, StorageError
from autocompress.evaluators.runtimes.base import Availability
from autocompress.evaluators.score import PARITY, relative_difference
from autocompress.search.export import teacher_file
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities, Target

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
        ("[]", "export.json: damaged"),
        ('{"study": "x", "tri', "export.json: damaged"),
    ):
        (tmp_path / "models" / "export.json").write_text(content)
        said = cli(*command)[2]
        assert part in said and "--fresh" not in said
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_beside_a_model_is_nobodys_but_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Whatever a user calls a file of his, building neither overwrites nor removes it."""
    import torch

    from autocompress.search import export as room

    class Builder:
        def __init__(self, *_: object) -> None: ...

        def build(self, module: object, spec: object, path: Path, **other: object) -> Any:
            path.write_text("built")
            if fails:
                raise MeasurementError("not to be had")
            assert path.suffix == ".onnx", "runtimes know files by it"
            return SimpleNamespace(bits=())

    monkeypatch.setattr(room, "ArtifactBuilder", Builder)
    validation = SimpleNamespace(inputs=lambda rows: torch.zeros(1, 2))
    task = SimpleNamespace(example_input=torch.zeros(1, 2), validation=validation, calibration=None)
    work: Any = SimpleNamespace(
        student=torch.nn.Sequential(torch.nn.Linear(2, 2)), spec=StudentSpec(), templates=None, task=task,
        activations=None, trained={},
    )  # fmt: skip
    runtime: Any = SimpleNamespace(
        suffix=".onnx",
        available=lambda: Availability(False, "not here", builds_only=True),
        capabilities=lambda target: Capabilities((32,), (), 4),
    )
    mine = {name: f"my {name}" for name in ("part.onnx", "model.part", "part-model.onnx", "file.onnx")}
    for name, content in mine.items():
        (tmp_path / name).write_text(content)
    try:
        room._one(work, Target("onnxruntime"), runtime, tmp_path)
    except MeasurementError:
        assert fails
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == (mine if fails else mine | {"model.onnx": "built"})


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_differs_from_everything(wrong: float) -> None:
    right, broken = np.zeros((2, 3), np.float32), np.full((2, 3), wrong, np.float32)
    for got, expected in ((right, broken), (broken, right), (broken, broken)):
        assert relative_difference(got, expected) > PARITY
    assert relative_difference(right, right) == 0
