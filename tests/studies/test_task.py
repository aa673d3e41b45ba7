"""Tasks: what is read and checked before a search begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autocompress.errors import AutoCompressError, DataError, MetricError, StudyFileError, UnknownName
from autocompress.spaces.plain import to_plain
from autocompress.studies.data.images import ImageData
from autocompress.studies.metric import metric_of
from autocompress.studies.preprocessing import Preprocessing
from autocompress.studies.task import Task, load_task, top1


def split(count: int = 20, classes: int = 4, features: int = 6, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(count, features, generator=generator), torch.arange(count) % classes)


def small_task(**parts: Any) -> Task:
    good: dict[str, Any] = {
        "teacher": nn.Sequential(nn.Linear(6, 4), nn.Dropout()),
        "train": split(600),
        "validation": split(seed=1),
        "test": DataLoader(split(seed=2), batch_size=3, shuffle=True),
    }
    return Task(**{**good, **parts})


def test_prepared_reads_everything() -> None:
    prepared = small_task().prepared()
    assert not prepared.teacher.training
    assert isinstance(prepared.train, ImageData) and len(prepared.train) == 600
    assert prepared.example_input.shape == (1, 6)
    assert torch.equal(prepared.test.labels, split(seed=2).tensors[1]), "a shuffled loader is read in order"


def test_calibration_comes_from_train_alone() -> None:
    prepared = small_task().prepared()
    assert prepared.calibration.shape == (512, 6)
    train = {tuple(row) for row in split(600).tensors[0].tolist()}
    assert {tuple(row) for row in prepared.calibration.tolist()} <= train
    given = small_task(calibration=torch.zeros(7, 6)).prepared().calibration
    assert given.shape == (7, 6)


class Outputs(nn.Module):
    """A teacher that gives what it is told."""

    def __init__(self, give: Any) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Any:
        return self.give(x)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": split(0)}, "train split is empty"),
        ({"validation": split(0)}, "validation split is empty"),
        ({"train": split(classes=5)}, "train labels: row 4 has label 4, allowed are 0 to 3"),
        ({"test": split(classes=5)}, "test labels: row 4 has label 4, allowed are 0 to 3"),
        ({"validation": TensorDataset(torch.zeros(2, 6), torch.tensor([0, -1]))}, "label -1"),
        ({"test": split(features=5)}, "test has inputs of shape .5., validation has .6."),
        ({"example_input": torch.zeros(1, 5)}, "example_input has inputs of shape"),
        ({"teacher": nn.Linear(7, 4)}, r"cannot take 8 validation inputs of shape \[8, 6\]: RuntimeError"),
        (
            {"teacher": Outputs(lambda x: x[:, 0])},
            r"outputs \[N, K\] and labels: .* got outputs \[8\] and labels int64",
        ),
        ({"teacher": Outputs(lambda x: {"logits": x})}, "has no weights"),
        ({"teacher": Outputs(lambda x: x * float("nan"))}, "NaN or infinite outputs"),
    ],
)
def test_unusable_parts_get_one_line(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        small_task(**parts).prepared()
    assert "\n" not in str(caught.value)


def test_top1() -> None:
    outputs = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    assert top1(outputs, torch.tensor([1, 0, 0])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (float("nan"), "returned nan"),
        (float("inf"), "returned inf"),
        (None, "returned a NoneType, not a number"),
        (torch.zeros(3), "returned a Tensor, not a number"),
    ],
)
def test_metric_without_a_usable_number(result: Any, message: str) -> None:
    def odd(outputs: Tensor, labels: Tensor) -> Any:
        return result

    with pytest.raises(MetricError, match=f"metric 'odd' {message}"):
        metric_of(odd).value(torch.zeros(2, 2), torch.zeros(2))


def test_metric_that_raises() -> None:
    def odd(outputs: Tensor, labels: Tensor) -> float:
        return 1 / 0

    with pytest.raises(MetricError, match="metric 'odd' raised ZeroDivisionError"):
        metric_of(odd).value(torch.zeros(2, 2), torch.zeros(2))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("x = 1\ndef tasks(): ...", UnknownName, "unknown function 'task'; did you mean 'tasks'"),
        ("def task(): return 3", StudyFileError, "returned a int, not a Task"),
        ("import torch\n\n1 / 0", StudyFileError, "line 3: ZeroDivisionError"),
        ("def task():\n    x = 1\n    return x.y", StudyFileError, r"task\(\): line 3: AttributeError"),
        ("def task(:", StudyFileError, "line 1: SyntaxError"),
        ("import nothing_like_this", StudyFileError, "line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)", StudyFileError, "line 1: SystemExit"),
        (
            "from autocompress import Task\ndef task(): return Task('net', None, None, None)",
            StudyFileError,
            "teacher is a str",
        ),
    ],
)
def test_task_files_that_cannot_be_used(
    tmp_path: Path, source: str, error: type[AutoCompressError], message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(error, match=message) as caught:
        load_task(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["no/such.py", "no_such_module:task", "json", "json:"])
def test_task_that_is_not_there(spec: str) -> None:
    with pytest.raises(StudyFileError):
        load_task(spec)


def test_task_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("NAME = 'from the neighbour'")
    (tmp_path / "mine.py").write_text(
        "from autocompress import Task\nimport torch\n"
        "def make():\n"
        "    import neighbour_of_mine as n\n"
        "    return Task(torch.nn.Linear(2, 2), None, None, None, name=n.NAME)"
    )
    assert load_task(f"{tmp_path / 'mine.py'}:make").name == "from the neighbour"


@pytest.mark.slow
def test_the_example_task_runs_and_keeps_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import autocompress.studies

    monkeypatch.chdir(tmp_path)
    example = Path(autocompress.studies.__file__).with_name("my_task.py")
    first = load_task(str(example))
    prepared = first.prepared()
    with torch.no_grad():
        outputs = prepared.teacher(prepared.validation.inputs(slice(None)))
    assert prepared.metric.value(outputs, prepared.validation.labels) > 0.9
    again = load_task(str(example)).teacher.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.teacher.state_dict().items())


def test_task_is_a_value() -> None:
    task = small_task()
    assert replace(task, name="other").teacher is task.teacher


NUMBERED = {9 - n: str(9 - n) for n in range(10)}
"""As `id2label` of transformers' models, in another order."""


@pytest.mark.parametrize(
    "labels", [range(10), NUMBERED, np.arange(10), torch.arange(10), [np.str_(n) for n in range(10)]]
)
def test_labels_and_preprocessing_become_plain_values_that_json_has(labels: Any) -> None:
    given = Preprocessing(
        size=(np.int64(8), torch.tensor(8)),
        channels=np.int64(1),
        scale=np.float32(0.5),
        mean=np.array([0.25], np.float32),
        std=torch.tensor([0.5]),
    )
    made = Task(nn.Identity(), None, None, None, labels=labels, preprocessing=given)
    assert made.labels == tuple(map(str, range(10)))
    assert json.loads(json.dumps([list(made.labels), to_plain(made.preprocessing)]))[1]["mean"] == [0.25]
    assert made.preprocessing == Preprocessing((8, 8), 1, 0.5, (0.25,), (0.5,))
    for wrong in (
        {"mean": 0.5},
        {"std": ["x"]},
        {"mean": [float("nan")]},
        {"mean": torch.rand(1, 3, 1, 1)},
        {"channels": "RGB"},
        {"length": "x"},
        {"length": 0},
        {"size": (None, 32)},
        {"size": "224"},
        {"size": (32.5, 32)},
        {"size": (32,)},
    ):
        with pytest.raises(DataError, match="allowed: "):
            Preprocessing(**wrong)
    for names in ("cat", 10, {"cat", "dog"}, {"cat": 0, "dog": 1}, {1: "cat", 2: "dog"}):
        with pytest.raises(DataError, match="labels = "):
            Task(nn.Identity(), None, None, None, labels=names)
