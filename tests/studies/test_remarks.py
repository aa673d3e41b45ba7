"""What is only said of a task, and how little is said where one is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import PIL.Image
import pytest
import torch
from small_tasks import Knows, inputs, right, splits
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from autocompress.errors import DataError, ExportError
from autocompress.studies.task import Task


def test_what_is_only_said() -> None:
    made = splits()
    x, y = made["validation"].tensors
    made["validation"] = TensorDataset(x[y != 2][:60], y[y != 2][:60])
    made["test"] = made["validation"]
    told: list[str] = []
    prepared = Task(Knows(), **made).prepared(told.append)
    assert prepared.teacher_look == 1.0
    words = "\n".join(told)
    assert "60 of 60 different test inputs are in validation too" in words
    assert "class 2 has no items in validation" in words and "class 2 has no items in test" in words
    assert "validation has 60 items" in words
    assert "train" not in words, "nothing is said of a split that is as it ought to be"


class Branches(Knows):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.max() > 100 else 2 * y


@pytest.mark.parametrize(
    ("end", "kind", "outputs", "said"),
    [
        (nn.Softmax(1), "classification", 4, "take the softmax off"),
        (nn.Sigmoid(), "binary", 1, "take the sigmoid off"),
        (nn.Identity(), "classification", 4, ""),
        (nn.LogSoftmax(1), "classification", 4, ""),
    ],
)
def test_probabilities_are_noticed_where_logits_belong(end: nn.Module, kind: Any, outputs: int, said: str) -> None:
    made = splits(right if outputs > 1 else lambda x: (x[:, 0] > 0).long())
    told: list[str] = []
    Task(nn.Sequential(Knows(outputs), end), **made, kind=kind).prepared(told.append)
    assert (said in " ".join(told)) if said else not any("probabilities" in line for line in told)


class Autocast(Knows):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x).float()  # type: ignore[no-any-return]


def test_what_is_computed_in_16_bits_is_computed_in_single_precision() -> None:
    told: list[str] = []
    prepared = Task(Autocast(), **splits()).prepared(told.append)
    assert any("in 16 bits" in line for line in told)
    exact = Knows()
    few = inputs(1)[:8]
    assert torch.allclose(prepared.teacher(few), exact(few), atol=1e-6)


def test_nothing_but_the_line_is_printed_where_a_network_cannot_be_traced(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExportError, match="depends on values"):
        Task(Branches(), **splits()).prepared()
    assert capfd.readouterr() == ("", "")


class Pictures(Dataset[Any]):
    """Items that no network takes: a picture or a text in place of a tensor."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Any:
        return self.item


@pytest.mark.parametrize(
    ("item", "said"),
    [((PIL.Image.new("RGB", (8, 8)), 1), "ToTensor"), ((torch.zeros(6), "cat"), "labels must be tensors, got text")],
)
def test_items_that_are_no_tensors_are_refused_with_what_to_do(item: Any, said: str) -> None:
    data = Pictures(item)
    with pytest.raises(DataError, match=said):
        Task(Knows(), data, data, data).prepared()


class Several(Knows):
    """Gives something beside its answer, in one of several forms."""

    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Any:
        return self.give(super().forward(x))


@pytest.mark.parametrize(
    ("give", "output", "said"),
    [
        (lambda y: (y, y + 1, None), None, "not number 1;"),
        (lambda y: [y, y + 1, y + 2], None, "not number 1, number 2;"),
        (lambda y: {"logits": y, "aux": y + 1, "hidden": (y,)}, None, "not 'aux';"),
        (lambda y: (y, y + 1), 0, ""),
        (lambda y: {"logits": y, "loss": y.sum(), "aux": None}, None, ""),
        (lambda y: (y,), None, ""),
    ],
)
def test_outputs_that_files_will_lack_are_named(give: Callable[[Tensor], Any], output: Any, said: str) -> None:
    told: list[str] = []
    Task(Several(give), **splits(), output=output).prepared(told.append)
    assert [line for line in told if "outputs alone" in line and said in line] if said else "alone" not in str(told)


def test_a_class_that_students_would_never_see_is_told() -> None:
    made = splits()
    x, y = made["train"].tensors
    made["train"] = TensorDataset(x[y != 3], y[y != 3])
    told: list[str] = []
    Task(Knows(), **made).prepared(told.append)
    assert "careful: class 3 has no items in train" in told
