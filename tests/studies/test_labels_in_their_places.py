"""Labels of many shapes: what lies in another order, beyond the classes or between them is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_tasks import Knows, inputs, splits
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from autocompress.errors import DataError
from autocompress.studies.data.one_shape import OneShape
from autocompress.studies.task import Task


class Grid(nn.Module):
    """Gives numbers [N, 2, 3] for 6 of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Knows(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).view(-1, 2, 3)  # type: ignore[no-any-return]


def test_labels_with_their_channels_last_are_refused_with_what_to_do() -> None:
    made = splits(lambda x: x.view(-1, 2, 3).movedim(1, -1))
    with pytest.raises(DataError, match=r"in the order of the outputs.*: give labels.movedim\(-1, 1\)"):
        Task(Grid(), **made, kind="regression").prepared()
    prepared = Task(Grid(), **splits(lambda x: x.view(-1, 2, 3)), kind="regression").prepared()
    assert prepared.teacher_look == 0.0


class Tags(nn.Module):
    """Answers for each of 6 positions with one of 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.unsqueeze(-1))  # type: ignore[no-any-return]


def test_a_class_of_tokens_that_the_teacher_lacks_is_refused_whatever_its_number() -> None:
    made: dict[str, Any] = splits(lambda x: (x > 0).long())
    x, y = made["train"].tensors
    y[100, 3] = 255
    made["train"] = TensorDataset(x, y)
    with pytest.raises(DataError, match=r"train labels: .* label 255, allowed are 0 to 2"):
        Task(Tags(), **made, kind="tokens").prepared()
    y[100, 3] = -100
    Task(Tags(), **made, kind="tokens").prepared()


class Signals(Dataset[Any]):
    """Signals of 4 to 6 steps with a number for each of them."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        steps = inputs(index, 1)[0, : 4 + index % 3]
        return steps, 2 * steps


class Doubles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.unsqueeze(-1)).squeeze(-1)  # type: ignore[no-any-return]


def test_numbers_that_would_count_are_never_made_up() -> None:
    data = Signals()
    with pytest.raises(DataError, match=r"a number for each of 4 positions, .* length = 5 would count"):
        Task(Doubles(), data, data, data, kind="regression", length=5).prepared()
    prepared = Task(Doubles(), data, data, data, kind="regression", length=4).prepared()
    assert prepared.validation.labels.shape == (60, 4), "what is too long is cut"


def test_masks_of_yes_and_no_stay_so_in_another_size() -> None:
    picture, mask = torch.rand(1, 3, 9, 9), torch.zeros(1, 1, 9, 9)
    mask[:, :, 2:6, 3:8] = 1.0
    shape = OneShape(size=(6, 6), labels=True)
    (_,), found = shape.batch([picture], mask, -100)
    assert found.shape == (1, 1, 6, 6) and found.unique().tolist() == [0.0, 1.0]
    (_,), depths = shape.batch([picture], mask * 0.5, -100)
    assert len(depths.unique()) > 2, "measured numbers are resized smoothly"
