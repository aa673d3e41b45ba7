"""A runtime whose files take one input refuses a network of several before anything is taught, built or measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import autocompress
from autocompress.errors import MeasurementError
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.export import _one
from autocompress.spaces.target import Target


class Pairs(Dataset[dict[str, Tensor]]):
    """Pairs of points; the label is whether the first is the greater."""

    def __init__(self, count: int, seed: int) -> None:
        self.points = torch.randn(count, 2, 4, generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        left, right = self.points[index]
        return {"left": left, "right": right, "labels": (left.sum() > right.sum()).long()}


class Greater(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, width), nn.Linear(4, width), nn.Linear(width, 2)
        with torch.no_grad():
            self.left.weight.fill_(1.0)
            self.right.weight.fill_(-1.0)
            self.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            for layer in (self.left, self.right, self.head):
                layer.bias.zero_()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(torch.tanh(self.left(left) + self.right(right)))


def made_task() -> autocompress.Task:
    splits = [Pairs(count, seed) for seed, count in enumerate((200, 100, 100))]
    return autocompress.Task(Greater().eval(), *splits, name="pairs", students={"narrow": lambda: Greater(8)})


@pytest.mark.parametrize("name", ["litert", "executorch"])
def test_a_study_ends_before_own_students_are_taught_and_targets_calibrated(name: str, tmp_path: Path) -> None:
    if not get_runtime(name).available().ok:
        pytest.skip(get_runtime(name).available().reason)
    with pytest.raises(MeasurementError, match=f"{name}: builds files of one input here, the network takes 2"):
        autocompress.compress(made_task(), runtime=["onnxruntime", name], trials=1, runs=tmp_path, progress="none")
    made = {path.relative_to(tmp_path / "pairs").parts[0] for path in (tmp_path / "pairs").rglob("*")}
    assert not made & {"students", "targets"}


def test_an_export_is_refused_before_anything_is_exported(tmp_path: Path) -> None:
    name = next((name for name in ("litert", "coreml", "executorch") if get_runtime(name).available().builds), None)
    if name is None:
        pytest.skip("no runtime of one input is installed")
    work: Any = SimpleNamespace(
        student=Greater().eval(), task=SimpleNamespace(example_input=(torch.zeros(1, 4), torch.zeros(1, 4)))
    )
    with pytest.raises(MeasurementError, match="one input here"):
        _one(work, Target(name), get_runtime(name), tmp_path)
    assert not list(tmp_path.iterdir())
