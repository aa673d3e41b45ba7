"""Tasks as users write them: what cannot be is told in one line before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import Knows, right, splits
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from autocompress import Task
from autocompress.errors import AutoCompressError, DataError
from autocompress.search.identity import identity_of
from autocompress.studies.checkpoint import load_weights, save_weights
from autocompress.studies.data.images import ImageData
from autocompress.studies.data.tensors import TensorData

Change = Callable[[Task], Task]


def task() -> Task:
    return Task(Knows(), **splits())


def parts(source: Any) -> tuple[Tensor, Tensor]:
    inputs, labels = source.tensors
    return inputs.clone(), labels.clone()


def spoiled(split: str, row: int = 5, value: float = float("nan"), kind: Any = TensorDataset) -> Change:
    def change(given: Task) -> Task:
        inputs, labels = parts(getattr(given, split))
        inputs[row] = value
        return replace(given, **{split: kind(inputs, labels)})

    return change


def labelled(split: str, change: Callable[[Tensor], Any]) -> Change:
    def changed(given: Task) -> Task:
        inputs, labels = parts(getattr(given, split))
        return replace(given, **{split: TensorDataset(inputs, change(labels))})

    return changed


class Stream(IterableDataset[Any]):
    def __init__(self, source: Any, bad: int) -> None:
        self.source, self.bad = source, bad

    def __iter__(self) -> Iterator[Any]:
        for row, (inputs, label) in enumerate(self.source):
            yield inputs * float("nan") if row == self.bad else inputs, label


class Fresh(Dataset[Any]):
    """Other items each time, as augmentation makes them, and one that is broken."""

    def __init__(self, source: Any, bad: int) -> None:
        self.source, self.bad = source, bad

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Any:
        inputs, label = self.source[row]
        return inputs + 1e-3 * torch.randn(6) * (float("nan") if row == self.bad else 1.0), label


def in_one_hot(given: Task) -> Task:
    """Return the same task with an answer for each class, yes or no."""
    for split in ("train", "validation", "test"):
        items = [(x, F.one_hot(torch.as_tensor(y), 4).float()) for x, y in getattr(given, split)]
        given = replace(given, **{split: items})
    return replace(given, kind="multilabel")


def metric_that(change: Callable[[Tensor, Tensor], Any]) -> Change:
    return lambda given: replace(given, metric=change)


REFUSED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "NaN in train": (spoiled("train"), ("train split has NaN", "items 0 to 149")),
    "NaN in validation": (spoiled("validation"), ("validation split has NaN",)),
    "infinity in test": (spoiled("test", 140, float("inf")), ("test split has NaN or infinite",)),
    "NaN in images given directly": (spoiled("validation", 100, kind=ImageData), ("validation split has NaN",)),
    "NaN in train images given directly": (spoiled("train", 100, kind=ImageData), ("train split has NaN",)),
    "NaN in tensors given directly": (spoiled("test", 100, kind=TensorData), ("test split has NaN",)),
    "NaN in the first item of train": (spoiled("train", 0), ("train split has NaN",)),
    "NaN in a stream": (lambda t: replace(t, train=Stream(t.train, 120)), ("train split has NaN",)),
    "NaN first in a stream": (lambda t: replace(t, train=Stream(t.train, 0)), ("train split has NaN",)),
    "NaN in a validation stream": (lambda t: replace(t, validation=Stream(t.validation, 3)), ("validation", "NaN")),
    "empty train": (lambda t: replace(t, train=[]), ("train split is empty",)),
    "empty validation": (lambda t: replace(t, validation=Subset(t.validation, [])), ("validation split is empty",)),
    "empty test": (lambda t: replace(t, test=Subset(t.test, [])), ("test split is empty",)),
    "a number for a split": (lambda t: replace(t, validation=7), ("validation split is a int",)),
    "no test": (lambda t: replace(t, test=None), ("test split is a NoneType",)),
    "items that are None": (lambda t: replace(t, validation=[None] * 9), ("validation split cannot be read",)),
    "labels as text": (
        lambda t: replace(t, validation=[(x, "cat") for x, _ in t.validation]),
        ("validation labels must be tensors, got text",),
    ),
    "label -1": (labelled("train", lambda y: y - 1), ("train labels: row", "-1", "allowed are 0 to 3")),
    "label 10^12": (labelled("test", lambda y: y + 10**12), ("test labels: row 0", "allowed are 0 to 3")),
    "labels from one": (labelled("train", lambda y: y + 1), ("subtract 1",)),
    "whole one-hot labels": (
        labelled("validation", lambda y: nn.functional.one_hot(y, 4)),
        ("give labels.float()",),
    ),
    "float labels": (labelled("validation", Tensor.float), ("give labels.long()",)),
    "complex labels": (labelled("validation", lambda y: y + 1j), ("labels", "complex64")),
    "a validation sampler that draws again": (
        lambda t: replace(
            t, validation=DataLoader(t.validation, sampler=WeightedRandomSampler(torch.ones(150).tolist(), 150))
        ),
        ("validation split has a WeightedRandomSampler",),
    ),
    "a teacher without parameters": (
        lambda t: replace(t, teacher=nn.Sequential(nn.Flatten(), nn.Softmax(1), nn.LogSoftmax(1))),
        ("the teacher has no weights",),
    ),
    "one output": (lambda t: replace(t, teacher=Knows(1)), ("kind",)),
    "a teacher of NaN": (
        lambda t: replace(t, teacher=nn.Sequential(Knows(), nn.Hardtanh(float("nan"), float("nan")))),
        ("",),
    ),
    "no such kind": (lambda t: replace(t, kind="clasification"), ("did you mean 'classification'",)),
    "an empty kind": (lambda t: replace(t, kind=""), ("unknown kind of task ''",)),
    "too few names of classes": (lambda t: replace(t, labels=["a"]), ("1 labels for 4 classes",)),
    "too few names of yes-or-no answers": (
        lambda t: replace(in_one_hot(t), labels=["a", "b"]),
        ("2 labels for 4 classes",),
    ),
    "a negative length": (lambda t: replace(t, length=-1), ("length = -1",)),
    "no size": (lambda t: replace(t, size=(0, 5)), ("size = (0, 5)",)),
    "no such output": (lambda t: replace(t, output="nothing"), ("no output 'nothing'",)),
    "an example of another shape": (lambda t: replace(t, example_input=torch.zeros(1, 7)), ("example_input", "[7]")),
    "empty calibration": (lambda t: replace(t, calibration=torch.zeros(0, 6)), ("calibration has no inputs",)),
    "calibration of NaN": (lambda t: replace(t, calibration=torch.full((8, 6), float("nan"))), ("calibration", "NaN")),
    "a metric that is text": (lambda t: replace(t, metric="accuracy"), ("metric 'str' raised TypeError",)),
    "a complex metric": (metric_that(lambda o, y: complex(1, 1)), ("returned a complex",)),
    "a metric of nothing": (metric_that(lambda o, y: None), ("returned a NoneType",)),
    "a metric of NaN": (metric_that(lambda o, y: float("nan")), ("returned nan",)),
    "a metric per item": (metric_that(lambda o, y: (o.argmax(1) == y).float()), ("returned a Tensor",)),
    "a loss as metric": (
        metric_that(lambda o, y: float(nn.functional.cross_entropy(o, y))),
        ("shuffled, which is better", "metric_direction='minimize'"),
    ),
    "no such direction": (lambda t: replace(t, metric_direction="up"), ("'up'", "minimize")),
    "a loss of NaN": (lambda t: replace(t, loss=lambda o, y: o.sum() * float("nan")), ("loss", "nan")),
    "a loss for each item": (lambda t: replace(t, loss=lambda o, y: o.sum(1)), ("loss", "one finite number")),
    "a distillation that is a number": (lambda t: replace(t, distillation=lambda s, u, c: 7), ("step of training",)),
    "bytes of images": (
        lambda t: replace(t, train=TensorDataset(parts(t.train)[0].byte(), parts(t.train)[1])),
        ("uint8", "give float tensors"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_told_in_one_line(name: str) -> None:
    change, wanted = REFUSED[name]
    with pytest.raises(AutoCompressError) as told:
        change(task()).bare().prepared()
    said = str(told.value)
    assert "\n" not in said.strip() and all(part in said for part in wanted), said


class Odd(nn.Module):
    """Holds what only other modules know of: buffers of odd types, and a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Knows()
        self.register_buffer("short", torch.ones(3, dtype=torch.bfloat16))
        self.register_buffer("turned", torch.ones(2, dtype=torch.complex64).conj())
        self.register_buffer("flag", torch.tensor(True))

    def forward(self, x: Tensor) -> Any:
        return self.inner(x) + self.short.float().sum() * 0

    def get_extra_state(self) -> dict[str, int]:
        return {"seen": 7}

    def set_extra_state(self, state: Any) -> None: ...


@pytest.mark.parametrize(
    "teacher", [Odd(), Knows().half(), Knows().double(), Knows().bfloat16()], ids=["odd", "half", "double", "bfloat16"]
)
def test_a_teacher_of_any_type_is_kept_and_known_again(teacher: nn.Module, tmp_path: Path) -> None:
    bare = replace(task(), teacher=teacher).bare()
    prepared = bare.prepared()
    path = tmp_path / "teacher.safetensors"
    save_weights(bare.teacher, path)
    load_weights(bare.teacher, path)
    assert identity_of(prepared) == identity_of(bare.prepared())


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (lambda o, y: 100 * float((o.argmax(1) == y).float().mean()), 100.0),
        (lambda o, y: float((o.argmax(1) == y).float().mean()) - 5, -4.0),
    ],
    ids=["percent", "negative"],
)
def test_metrics_of_any_unit_are_taken(metric: Any, value: float) -> None:
    assert replace(task(), metric=metric).bare().prepared().teacher_look == pytest.approx(value)


def test_a_metric_cannot_change_the_labels() -> None:
    def spoils(outputs: Tensor, labels: Tensor) -> float:
        found = float((outputs.argmax(1) == labels).float().mean())
        labels.zero_()
        labels.numpy()[:] = 3
        return found

    prepared = replace(task(), metric=spoils).bare().prepared()
    assert prepared.teacher_look == 1.0
    assert torch.equal(prepared.validation.labels, right(parts(task().validation)[0]))
    assert prepared.metric.value(prepared.teacher(parts(task().test)[0]), prepared.test.labels) == 1.0


def remarks(changed: Task) -> list[str]:
    said: list[str] = []
    changed.bare(said.append).prepared(said.append)
    return said


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda t: replace(t, train=t.validation, test=t.validation), "150 different validation inputs are in train"),
        (lambda t: replace(t, validation=Subset(t.validation, [0])), "validation has 1 items"),
        (lambda t: replace(t, test=Subset(t.test, [0])), "test has 1 items"),
        (lambda t: replace(t, teacher=nn.Linear(6, 4)), "is the teacher trained?"),
        (lambda t: replace(t, teacher=nn.Sequential(Knows(), nn.Softmax(1))), "look like probabilities"),
    ],
    ids=["one split thrice", "validation of one", "test of one", "untrained", "softmax"],
)
def test_what_is_odd_is_remarked_on(change: Change, wanted: str) -> None:
    torch.manual_seed(0)
    said = remarks(change(task()))
    assert any(wanted in line for line in said), said


def test_a_good_task_is_not_remarked_on() -> None:
    assert remarks(task()) == []


def test_a_broken_item_that_comes_in_training_is_told_then() -> None:
    with pytest.raises(DataError, match="train split has NaN or infinite inputs in batch"):
        prepared = replace(task(), train=Fresh(task().train, 77)).bare().prepared()
        plan = prepared.train.epoch_plan(0, 16, 0)
        for step in range(plan.steps):
            plan.batch(step)


class Twice:
    """A way of its own to make batches: rows 0 to 9, again and again."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(range(10))] * 4)

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize("own", [True, False])
def test_a_batch_sampler_of_train_is_kept_where_it_says_more_than_shuffle(own: bool) -> None:
    given = task()
    sampler: Any = Twice() if own else BatchSampler(RandomSampler(given.train), 32, False)  # type: ignore[arg-type]
    prepared = replace(given, train=DataLoader(given.train, batch_sampler=sampler)).bare().prepared()
    plan = prepared.train.epoch_plan(0, 10, 0)
    seen = torch.cat([plan.batch(step)[0] for step in range(plan.steps)])
    assert len({tuple(row) for row in seen.tolist()}) == (10 if own else 150)
