"""Networks that take one mapping of columns, called by whatever names tables have."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autocompress.compression.export import input_names
from autocompress.errors import DataError
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.templates import Templates
from autocompress.spaces.inputs import rows_of, tensors_of
from autocompress.spaces.target import Target
from autocompress.studies.data.reading import interface_of
from autocompress.studies.task import Task

Columns = dict[str | int, Tensor]


class Income(nn.Module):
    """A table of people: numbers, a person's number, and a column that has no name."""

    def __init__(self) -> None:
        super().__init__()
        self.people, self.inner, self.head = nn.Embedding(10, 4), nn.Linear(7, 16), nn.Linear(16, 2)

    def forward(self, columns: Columns) -> Tensor:
        numbers = [columns[key].unsqueeze(1) for key in ("hours-per-week", "class", 7)]
        return self.head(self.inner(torch.cat([self.people(columns["user.id"]), *numbers], 1)).relu())


class Rows(Dataset[Any]):
    """What the teacher says of people, as items with a label."""

    def __init__(self, teacher: nn.Module, seed: int) -> None:
        drawn = torch.Generator().manual_seed(seed)
        numbers = torch.randn(3, 64, generator=drawn)
        people = torch.randint(0, 10, (64,), generator=drawn)
        self.columns: Columns = {"hours-per-week": numbers[0], "user.id": people, "class": numbers[1], 7: numbers[2]}
        with torch.no_grad():
            self.labels = teacher(self.columns).argmax(1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return {key: column[index] for key, column in self.columns.items()}, int(self.labels[index])


def test_files_have_inputs_of_the_users_names(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = Income().eval()
    prepared = Task(teacher, *(Rows(teacher, seed) for seed in range(3))).prepared()
    names = ["hours-per-week", "user.id", "class", "7"]
    for graph in (prepared.teacher, pickle.loads(pickle.dumps(prepared.teacher))):
        assert input_names(graph, prepared.example_input) == names
    some = rows_of(prepared.calibration, slice(0, 4))
    with torch.no_grad():
        expected = teacher(dict(zip(("hours-per-week", "user.id", "class", 7), some, strict=True))).numpy()
    for name in ("onnxruntime", "openvino", "pytorch"):
        runtime, target = get_runtime(name), Target(name, batch=4)
        if not runtime.available().ok:
            continue
        templates = Templates(prepared.teacher, prepared.example_input)
        builder = ArtifactBuilder(runtime, target, templates, prepared.calibration, some)
        builder.teacher_file(path := tmp_path / f"teacher{runtime.suffix}")
        loaded = runtime.load(path, target)
        assert [given.name for given in loaded.inputs] == names
        np.testing.assert_allclose(loaded.run(*(part.numpy() for part in tensors_of(some))), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("keys", "said"),
    [(("age", ("a", "pair")), r"an input named \('a', 'pair'\)"), (("",), "named ''"), ((1, "1"), "named 1, '1'")],
)
def test_names_that_no_file_can_have_are_refused_in_one_line(keys: tuple[Any, ...], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        interface_of(Income(), (dict.fromkeys(keys, torch.zeros(2, 1)), torch.zeros(2)), None, "train")
    assert "\n" not in str(caught.value)
