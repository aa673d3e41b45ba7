"""What a task is refused for, before anything is trained, and what is only said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import Knows, inputs, right, splits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from autocompress.errors import AutoCompressError, DataError, ExportError, MetricError, UnknownName
from autocompress.studies.data.tensors import TensorData
from autocompress.studies.metric import rmse
from autocompress.studies.task import Task


class Drops(Knows):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5)


class LooksAtTheBatch(Knows):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class HardlySpeaks(LooksAtTheBatch):
    """Answers in thousandths."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 1000


class Frozen(Knows):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)  # type: ignore[no-any-return]


class Detached(Knows):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()  # type: ignore[no-any-return]


class Branches(Knows):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if y.max() > 100 else 2 * y


class OneWay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError("there is no way back")


class Both(Knows):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"left": super().forward(x), "right": x}


def errors(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) != labels).float().mean())


def balanced(outputs: Tensor, labels: Tensor) -> float:
    hits = (outputs.argmax(1) == labels).float()
    return float(torch.stack([hits[labels == c].mean() for c in range(4)]).mean())


def norm_of_the_batch() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 4))


@pytest.mark.parametrize(
    ("parts", "labels", "error", "message"),
    [
        ({"teacher": Drops()}, right, DataError, "other outputs for the same inputs"),
        ({"teacher": LooksAtTheBatch()}, right, DataError, "depends on the others of its batch"),
        ({"teacher": HardlySpeaks()}, right, DataError, "depends on the others of its batch"),
        ({"teacher": norm_of_the_batch()}, right, DataError, "norms without running statistics .*: 1; "),
        ({"teacher": Detached()}, right, DataError, "reaches no weight"),
        (
            {"teacher": Branches()},
            right,
            ExportError,
            r"test_checks.py, line \d+: `return y if y.max\(\) .* branches on",
        ),
        ({}, lambda x: right(x)[:, None], DataError, r"give labels.squeeze\(1\)"),
        ({}, lambda x: F.one_hot(right(x)), DataError, r"give labels.float\(\)"),
        ({}, lambda x: right(x).float(), DataError, r"give labels.long\(\)"),
        ({"teacher": Both()}, right, DataError, "outputs left, right: say which counts by output="),
        ({"metric": errors}, right, MetricError, "if lower is better, say metric_direction='minimize'"),
        ({"metric_direction": "min"}, right, UnknownName, "metric_direction"),
        (
            {"teacher": Knows(1), "kind": "regression", "metric": rmse, "metric_direction": "maximize"},
            lambda x: x[:, 0],
            DataError,
            "RMSE is minimized",
        ),
        (
            {"teacher": Knows(1), "kind": "binary"},
            lambda x: torch.cat([torch.ones(100), -torch.ones(50)]),
            DataError,
            "validation labels are float32 .* allowed: 0 or 1",
        ),
        (
            {"teacher": Knows(1), "kind": "regression"},
            lambda x: torch.where(torch.arange(150) < 99, x[:, 0], float("nan")),
            DataError,
            "labels are float32 .* allowed: numbers",
        ),
        ({"example_input": {"x": torch.zeros(1, 6)}}, right, DataError, "example_input has no 'input'"),
        ({"calibration": (torch.zeros(1, 6), torch.zeros(1, 6))}, right, DataError, "calibration has 2 inputs"),
        ({}, lambda x: right(x) + 1, DataError, "start at 1: subtract 1"),
        ({}, lambda x: x.sum(1), DataError, "kind 'classification'.* labels float32"),
        ({"teacher": Knows(1)}, lambda x: (x[:, 0] > 0).long(), DataError, "kind='binary'"),
        ({"teacher": Knows(1)}, lambda x: x[:, 0], DataError, "kind='regression'"),
        ({"teacher": Knows(1), "kind": "binary"}, lambda x: x[:, 0].sign(), DataError, r"give labels.clamp_min\(0\)"),
        ({"kind": "segmentation"}, right, DataError, r"outputs \[N, K, ...\].* kind='classification'"),
        ({"kind": "clasification"}, right, UnknownName, "did you mean 'classification'"),
        ({"kind": None}, right, DataError, "a loss and a metric"),
        ({"loss": lambda o, y: F.cross_entropy(o, y, reduction="none")}, right, DataError, "loss of a batch has shape"),
        (
            {"loss": lambda o, y: o.sum() * float("nan")},
            right,
            DataError,
            "the loss of the first training batch is nan",
        ),
    ],
)
def test_a_task_is_refused_in_one_line(
    parts: dict[str, Any], labels: Any, error: type[AutoCompressError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Task(**{"teacher": Knows(), **splits(labels), **parts}).prepared()
    assert "\n" not in str(caught.value)


def test_a_class_that_is_missing_is_named_with_the_metric() -> None:
    made = splits()
    x, y = made["validation"].tensors
    made["validation"] = TensorDataset(x[y != 2], y[y != 2])
    with pytest.raises(MetricError, match=r"'balanced' returned nan .*; class 2 has no items in validation"):
        Task(Knows(), **made, metric=balanced).prepared()


def test_the_metric_may_be_minimized_and_losses_may_be_the_users_own() -> None:
    prepared = Task(Knows(), **splits(), metric=errors, metric_direction="minimize").prepared()
    assert prepared.teacher_look == 0.0 and prepared.metric.label.name == "errors"

    def apart(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return (student - teacher).abs().mean()

    own = Task(
        Knows(),
        **splits(lambda x: 3 * x[:, :4]),
        kind=None,
        loss=F.l1_loss,
        metric=lambda o, y: -float(F.l1_loss(o, y)),
    )
    losses = own.prepared().losses
    a, b = torch.zeros(3, 4), torch.ones(3, 4)
    assert float(losses.hard(a, b)) == 1 and losses.soft(a, b, 1.0).shape == (3,)
    own = Task(Knows(), **splits(), distillation=apart)
    assert own.prepared().losses.soft(a, b, 1.0).tolist() == [1, 1, 1]


class Custom(Knows):
    def forward(self, x: Tensor) -> Tensor:
        return OneWay.apply(super().forward(x))  # type: ignore[no-untyped-call, no-any-return]


@pytest.mark.parametrize("teacher", [Frozen, Custom])
def test_what_only_keeps_gradients_away_in_python_is_left_behind(teacher: type[Knows]) -> None:
    Task(teacher(), **splits()).prepared()


def test_a_known_metric_has_its_own_direction() -> None:
    prepared = Task(Knows(1), **splits(lambda x: x[:, 0]), kind="regression", metric=rmse).prepared()
    assert not prepared.metric.label.maximized and prepared.teacher_look == 0


class Ratings(nn.Module):
    """Takes two numbers for each example, [N] and [N]."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.things, self.head = nn.Embedding(9, 8), nn.Embedding(7, 8), nn.Linear(16, 2)

    def forward(self, user: Tensor, thing: Tensor) -> Tensor:
        return self.head(torch.cat([self.users(user), self.things(thing)], 1))  # type: ignore[no-any-return]


def test_inputs_of_one_number_each() -> None:
    g = torch.Generator().manual_seed(0)
    parts = [TensorDataset(*(torch.randint(high, (150,), generator=g) for high in (9, 7, 2))) for _ in range(3)]
    prepared = Task(Ratings(), *parts).prepared()
    assert [tuple(part.shape) for part in prepared.example_input] == [(1,), (1,)]


def test_an_example_is_one() -> None:
    prepared = Task(Knows(), **splits(), example_input=inputs(7, 16)).prepared()
    assert isinstance(prepared.example_input, Tensor) and prepared.example_input.shape == (1, 6)


class Words(Dataset[dict[str, Any]]):
    """Texts of 3 to 9 words."""

    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        lengths = torch.randint(3, 10, (120,), generator=g).tolist()
        self.words = [torch.randint(1, 50, (length,), generator=g) for length in lengths]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = self.words[index]
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": int(words[0]) % 2, "idx": index}


class Mean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(50, 8), nn.Linear(8, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        weight = attention_mask.unsqueeze(-1).float()
        return {"loss": labels, "logits": self.head((self.table(input_ids) * weight).sum(1) / weight.sum(1))}


def test_texts_of_differing_length_by_the_names_that_forward_knows() -> None:
    prepared = Task(Mean(), *(Words(seed) for seed in range(3)), length=7).prepared()
    assert [tuple(part.shape) for part in prepared.calibration] == [(120, 7), (120, 7)]
    assert [n.target for n in prepared.teacher.graph.nodes if n.op == "placeholder"] == ["input_ids", "attention_mask"]


class InFloats(Words):
    """The same texts, whose tokens were read as floating numbers."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = super().__getitem__(index)
        return {**item, "input_ids": item["input_ids"].float()}


def drawn(data: Dataset[Any]) -> DataLoader[Any]:
    """Return a loader of its own order, which is read anew each epoch."""
    return DataLoader(data, 8, sampler=WeightedRandomSampler([1.0] * 120, 120))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"example_input": (torch.ones(1, 7), torch.ones(1, 7))}, "example_input is float32 and float32"),
        ({"calibration": (torch.ones(9, 7), torch.ones(9, 7).long())}, "calibration is float32 and int64"),
        ({"calibration": (torch.ones(9, 7).int(), torch.ones(9, 7).bool())}, "calibration is int64 and bool"),
        ({"calibration": InFloats(3)}, "calibration is float32 and int64"),
        ({"test": InFloats(3)}, "test is float32 and int64"),
        ({"train": InFloats(3)}, "train is float32 and int64"),
        ({"train": drawn(InFloats(3))}, "train is float32 and int64"),
    ],
)
def test_all_parts_of_a_task_have_numbers_of_one_kind(parts: dict[str, Any], said: str) -> None:
    words: dict[str, Any] = {name: Words(seed) for seed, name in enumerate(("train", "validation", "test"))}
    with pytest.raises(DataError, match=f"^{said}, validation int64 and int64: give the same$"):
        Task(Mean(), **{**words, **parts}, length=7).prepared()


def test_wider_calibration_inputs_are_taken_in_the_width_of_validation() -> None:
    wide = TensorData(inputs(9).double(), torch.zeros(150))
    found = Task(Knows(), **splits(), calibration=wide).prepared().calibration
    assert isinstance(found, Tensor) and found.dtype == torch.float32 and len(found) == 150
