"""Items and loaders as people have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from autocompress.errors import DataError
from autocompress.spaces.inputs import tensors_of
from autocompress.studies.data.images import ImageData
from autocompress.studies.data.reading import Reading, interface_of
from autocompress.studies.data.sources import as_data, materialise
from autocompress.studies.data.streams import StreamedData
from autocompress.studies.task import Task


class Takes(nn.Module):
    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.forward = forward  # type: ignore[method-assign]


def one(x: Tensor) -> Tensor:
    return x


def two(left: Tensor, right: Tensor) -> Tensor:
    return left + right


def named(input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
    return input_ids


def mapping(batch: dict[str, Tensor]) -> Tensor:
    return batch["input_ids"]


ID, MASK, Y = torch.ones(4, 6, dtype=torch.int32), torch.ones(4, 6, dtype=torch.bool), torch.arange(4)
PIXELS = torch.zeros(4, 1, 3, 3)
IDS = {"input_ids": ID, "attention_mask": MASK}
ARRAYS = {name: part.numpy() for name, part in IDS.items()}


@pytest.mark.parametrize(
    ("forward", "batch", "names", "style"),
    [
        (one, (PIXELS, Y), ("input",), "positional"),
        (one, {"x": PIXELS, "label": Y}, ("x",), "keywords"),
        (two, ((PIXELS, PIXELS), Y), ("left", "right"), "positional"),
        (two, (PIXELS, PIXELS, Y), ("left", "right"), "positional"),
        (one, ((PIXELS, PIXELS), Y), ("input_0", "input_1"), "sequence"),
        (named, {**IDS, "idx": Y, "labels": Y}, ("input_ids", "attention_mask"), "keywords"),
        (named, (IDS, Y), ("input_ids", "attention_mask"), "keywords"),
        (mapping, {"input_ids": ID, "labels": Y}, ("input_ids",), "mapping"),
        (named, {"text": "ab", **ARRAYS, "labels": Y.numpy()}, ("input_ids", "attention_mask"), "keywords"),
    ],
)  # fmt: skip
def test_how_a_network_takes_a_batch(forward: Any, batch: Any, names: tuple[str, ...], style: str) -> None:
    found = interface_of(Takes(forward), batch, None, "validation")
    assert (found.names, found.style) == (names, style)
    inputs, labels = Reading(found).batch(batch, "validation")
    assert torch.equal(labels, Y) and len(tensors_of(inputs)) == len(names)


def test_number_formats() -> None:
    ids, labels = Reading().batch((ID, [0, 1, 2, 3]), "train")
    assert isinstance(ids, Tensor) and ids.dtype == torch.int64, "tokens stay whole"
    assert labels.dtype == torch.int64
    halves, shares = Reading().batch((PIXELS.half(), np.full((4, 2), 0.5)), "train")
    assert isinstance(halves, Tensor) and halves.dtype == torch.float32
    assert shares.dtype == torch.float32 and shares.shape == (4, 2)
    flags, _ = Reading().batch((MASK, Y), "train")
    assert isinstance(flags, Tensor) and flags.dtype == torch.bool


class Endless(IterableDataset[Any]):
    def __init__(self, items: int, random: bool = False) -> None:
        self.items, self.random = items, random

    def __iter__(self) -> Iterator[Any]:
        for i in range(self.items):
            yield torch.full((3,), float(i)) + (torch.rand(1) if self.random else 0), i % 2


def test_streams_are_read_into_memory_where_they_repeat_and_counted_where_not() -> None:
    data = as_data(Endless(30))
    assert isinstance(data, ImageData) and len(data) == 30
    data = as_data(DataLoader(Endless(30, random=True), batch_size=8))
    assert isinstance(data, StreamedData) and len(data) == 30
    plan = data.epoch_plan(0, 99, 0)
    assert plan.steps == 4 and [len(plan.batch(i)[1]) for i in range(4)] == [8, 8, 8, 6]


def items(count: int) -> TensorDataset:
    return TensorDataset(torch.arange(count).float().view(-1, 1).repeat(1, 3), torch.arange(count) % 2)


def test_a_last_batch_of_one_comes_with_an_item_of_the_batch_before() -> None:
    sampler = WeightedRandomSampler([1.0] * 17, 17)
    data = as_data(DataLoader(items(17), batch_size=8, sampler=sampler))
    assert isinstance(data, StreamedData)
    plan = data.epoch_plan(0, 8, 0)
    assert [len(plan.batch(i)[1]) for i in range(plan.steps)] == [8, 8, 2]
    singles = as_data(DataLoader(items(4), batch_size=1, sampler=WeightedRandomSampler([1.0] * 4, 4)))
    plan = singles.epoch_plan(0, 1, 0)
    assert [len(plan.batch(i)[1]) for i in range(plan.steps)] == [1, 1, 1, 1], "a user's own batches of one stay"


def test_the_batch_of_a_loader_is_told_as_it_is() -> None:
    weighted = WeightedRandomSampler([1.0] * 20, 20)
    for source, batch in (
        (DataLoader(items(20), batch_size=5, sampler=weighted), 5),
        (DataLoader(items(20), batch_sampler=BatchSampler(weighted, 4, drop_last=False)), 4),
        (DataLoader(Endless(30, random=True), batch_size=8), 8),
    ):
        data = as_data(source)
        assert isinstance(data, StreamedData) and data.batch_of(16) == batch
    assert StreamedData(items(20)).batch_of(16) == 16, "nothing of its own"


def test_samplers_of_validation() -> None:
    part = materialise(DataLoader(items(20), batch_size=4, sampler=SubsetRandomSampler([3, 5, 8])))
    assert isinstance(part, ImageData) and sorted(part.images[:, 0].tolist()) == [3, 5, 8], "it chose the split"
    with pytest.raises(DataError, match="more than once"):
        materialise(DataLoader(items(20), batch_size=4, sampler=WeightedRandomSampler([1.0] * 20, 20)))


def test_a_batch_sampler_of_the_users_own_is_followed() -> None:
    class Pairs(BatchSampler):
        def __init__(self) -> None:
            pass

        def __iter__(self) -> Iterator[list[int]]:
            return iter([[0, 2], [4, 6]])

        def __len__(self) -> int:
            return 2

    data = as_data(DataLoader(items(20), batch_sampler=Pairs()))
    assert isinstance(data, StreamedData)
    inputs, _ = data.epoch_plan(0, 99, 0).batch(0)
    assert isinstance(inputs, Tensor) and inputs[:, 0].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((PIXELS, PIXELS, Y), "3 parts"),
        ("text", "got str"),
        ((PIXELS.to(torch.uint8), Y), "uint8"),
        ((ID.to(torch.uint8), Y), r"\.long\(\) of tokens"),
        ((PIXELS.to(torch.complex64), Y), "complex64"),
        ((PIXELS, Y[:2]), "for 4 inputs"),
        ((PIXELS, ["a"] * 4), "labels must be tensors"),
        (PIXELS, "no labels"),
        ((PIXELS.flatten(1).to_sparse(), Y), r"\.to_dense\(\)"),
    ],
)
def test_batches_that_cannot_be_used_get_one_line(batch: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Reading().batch(batch, "train")
    assert "\n" not in str(caught.value)


def test_inputs_that_somebody_differentiates_by_are_plain_numbers() -> None:
    inputs, _ = Reading().batch((PIXELS.clone().requires_grad_(), Y), "train")
    assert isinstance(inputs, Tensor) and not inputs.requires_grad


def test_a_mask_leaves_own_labels_out() -> None:
    reading = Reading(interface_of(Takes(named), IDS, None, "train"), own_labels=True)
    mask = torch.tensor([[1, 1, 0]])
    _, labels = reading.batch({"attention_mask": mask, "input_ids": torch.tensor([[7, 8, 9]])}, "train")
    assert labels.tolist() == [[7, 8, -100]]


def anything(input_ids: Tensor, **others: Any) -> Tensor:
    return input_ids


def test_columns_that_forward_does_not_name_are_no_inputs() -> None:
    found = interface_of(Takes(anything), {"idx": Y, "input_ids": ID, "labels": Y}, None, "train")
    assert found.names == ("input_ids",)


class Once(IterableDataset[Any]):
    def __init__(self) -> None:
        self.rest = iter([(torch.full((3,), float(i)), i % 2) for i in range(600)])

    def __iter__(self) -> Iterator[Any]:
        return self.rest


def test_a_stream_that_gives_its_items_once_is_refused() -> None:
    with pytest.raises(DataError, match="begin anew"):
        materialise(Once())


class WithoutEnd(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield torch.rand(3), 0


def test_a_stream_without_end_has_epochs_of_what_fits() -> None:
    data = as_data(WithoutEnd(), limit_bytes=50_000)
    assert isinstance(data, StreamedData) and 4000 < len(data) < 5000
    assert data.epoch_plan(0, 32, 0).steps == len(data) // 256


def test_the_items_of_a_subset_sampler_come_in_one_order() -> None:
    loader = DataLoader(items(40), batch_size=4, sampler=SubsetRandomSampler(range(5, 30)))
    once, again = materialise(loader), materialise(loader)
    assert isinstance(once, ImageData) and isinstance(again, ImageData)
    assert torch.equal(once.images, again.images) and once.images[:, 0].tolist() == list(range(5, 30))


def test_items_without_any_tensor_get_one_line() -> None:
    for batch in ({"text": ("a", "b"), "labels": Y}, {"names": np.array(["a", "b"]), "labels": Y}, {"labels": Y}):
        with pytest.raises(DataError, match=r"validation items have no tensors among (text|names|nothing)"):
            interface_of(Takes(one), batch, None, "validation")


def test_an_input_is_not_called_as_the_answer_is() -> None:
    def forward(left: Tensor, output: Tensor) -> Tensor:
        return left + output

    batch = {"left": PIXELS, "output": PIXELS, "labels": Y}
    with pytest.raises(DataError, match="an input named 'output', as files call their answer"):
        interface_of(Takes(forward), batch, None, "train")
    assert interface_of(Takes(forward), ((PIXELS, PIXELS), Y), None, "train").names == ("input_0", "input_1")
    assert interface_of(Takes(one), {"x": PIXELS, "output": PIXELS, "labels": Y}, None, "train").names == ("x",)


def test_a_split_that_is_too_large_is_refused_before_it_is_read() -> None:
    class Large(Dataset[Any]):
        def __len__(self) -> int:
            return 10_000

        def __getitem__(self, index: int) -> Any:
            read.append(index)
            return torch.zeros(3, 32, 32), index % 2

    read: list[int] = []
    task = Task(nn.Linear(1, 1), *[Large()] * 3)
    reading = task.reading()
    with pytest.raises(DataError, match=r"the validation split needs more than 0.0 GiB in memory: give fewer items"):
        materialise(Large(), "validation", 1000, reading)
    assert len(read) < 32
    few = DataLoader(Large(), sampler=SubsetRandomSampler(range(5)))
    assert len(materialise(few, "validation", 5 * 3 * 32 * 32 * 4, reading)) == 5, "of its part alone"
