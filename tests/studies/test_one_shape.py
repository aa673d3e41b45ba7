"""Examples of differing length and images of differing size come in one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_reading import ID, PIXELS, Takes, Y, named, one, two
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler, default_collate

from autocompress.errors import DataError
from autocompress.spaces.inputs import tensors_of
from autocompress.studies.data.one_shape import OneShape
from autocompress.studies.data.reading import Reading, interface_of
from autocompress.studies.data.sources import as_data, materialise
from autocompress.studies.data.tensors import TensorData
from autocompress.studies.task import Task


class Sentences(Dataset[Any]):
    """Items of differing length."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Any:
        words = torch.arange(1, index + 2)
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": words % 3}


def test_items_of_differing_length_are_filled_up_or_cut() -> None:
    reading = Reading(
        interface_of(Takes(named), Sentences()[0] | {"labels": Y}, None, "train"), shape=OneShape(length=5)
    )
    data = materialise(Sentences(), reading=reading)
    assert isinstance(data, TensorData)
    ids, mask = tensors_of(data.stored)
    assert ids.shape == mask.shape == data.labels.shape == (9, 5)
    assert ids[1].tolist() == [1, 2, 0, 0, 0] and mask[1].tolist() == [1, 1, 0, 0, 0]
    assert data.labels[1].tolist() == [1, 2, -100, -100, -100]
    assert ids[8].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(DataError, match=r"Task\(length"):
        materialise(DataLoader(Sentences(), batch_size=1), reading=Reading(reading.interface))


class Photographs(Dataset[Any]):
    """Pictures of differing size, left half dark, each with a map of its halves or with one label."""

    def __init__(self, maps: bool) -> None:
        self.maps = maps

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        height, width = 8 + 2 * index, 12 + 4 * index
        picture, halves = torch.zeros(3, height, width), torch.zeros(height, width, dtype=torch.long)
        picture[:, :, width // 2 :], halves[:, width // 2 :] = 1.0, 7
        return picture, halves if self.maps else index


@pytest.mark.parametrize("loader", [False, True])
@pytest.mark.parametrize("maps", [False, True])
def test_images_of_differing_size_are_resized_with_the_maps_that_label_them(maps: bool, loader: bool) -> None:
    source: Any = DataLoader(Photographs(maps), batch_size=4, shuffle=True) if loader else Photographs(maps)
    data = materialise(source, reading=Reading(shape=OneShape(size=(16, 24))))
    (pictures,) = tensors_of(data.inputs(slice(0, 6)))
    assert pictures.shape == (6, 3, 16, 24)
    assert torch.all(pictures[:, :, :, :10] < 0.1) and torch.all(pictures[:, :, :, 14:] > 0.9)
    if maps:
        assert data.labels.shape == (6, 16, 24) and data.labels.dtype == torch.long
        assert data.labels.unique().tolist() == [0, 7], "classes are not mixed"
        assert torch.all(data.labels[:, :, :12] == 0) and torch.all(data.labels[:, :, 12:] == 7)
    else:
        assert data.labels.tolist() == list(range(6))


def test_images_of_differing_size_are_refused_with_what_to_do_where_no_size_is_given() -> None:
    for source in (Photographs(maps=False), DataLoader(Photographs(maps=False), batch_size=1)):
        with pytest.raises(DataError, match=r"Task\(size=\(height, width\)\)"):
            materialise(source)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"length": 0}, "one length"),
        ({"length": (8, 16)}, "one length"),
        ({"size": 32}, "height, width"),
        ({"size": (32, 0)}, "height"),
    ],
)
def test_a_shape_that_is_none_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        OneShape(**wrong)


class Pieces(Dataset[Any]):
    """Texts without labels, of differing length, as bare tensors or mappings whose mask comes first."""

    def __init__(self, named_parts: bool) -> None:
        self.named_parts = named_parts

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        words = torch.arange(1, index + 2)
        return {"attention_mask": torch.ones_like(words), "input_ids": words} if self.named_parts else words


@pytest.mark.parametrize("named_parts", [True, False])
def test_tokens_are_their_own_labels_but_for_what_is_filled_up(named_parts: bool) -> None:
    forward = named if named_parts else one
    first = Pieces(named_parts)[0]
    batch = {k: v[None] for k, v in first.items()} if named_parts else first[None]
    reading = Reading(interface_of(Takes(forward), batch, None, "train"), shape=OneShape(length=4), own_labels=True)
    data = materialise(Pieces(named_parts), reading=reading)
    assert data.labels[1].tolist() == [1, 2, -100, -100] and data.labels[5].tolist() == [1, 2, 3, 4]
    ids = dict(zip(reading.interface.names, tensors_of(data.inputs(slice(None))), strict=True))
    assert next(v for k, v in ids.items() if k != "attention_mask")[1].tolist() == [1, 2, 0, 0]


def test_a_length_is_for_sequences_alone() -> None:
    reading = Reading(interface_of(Takes(two), ((ID, PIXELS), Y), None, "train"), shape=OneShape(length=9))
    table, many = torch.rand(4, 3), torch.ones(4, 5)
    (ids, kept), labels = reading.batch(((ID, table), many), "train")
    assert ids.shape == (4, 9) and torch.equal(kept, table) and torch.equal(labels, many)


class Tokenized(Dataset[Any]):
    """Items as tokenizers give them: lists of whole numbers."""

    def __init__(self, labelled: bool) -> None:
        self.labelled = labelled

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        item = {"input_ids": [1, 2, 3, index], "attention_mask": [1, 1, 1, int(index > 2)]}
        return {**item, "label": index % 3} if self.labelled else item


@pytest.mark.parametrize("length", [None, 6])
@pytest.mark.parametrize("labelled", [True, False])
def test_lists_of_tokens_are_read_as_tokenizers_give_them(labelled: bool, length: int | None) -> None:
    items = [Tokenized(labelled)[i] for i in range(6)]
    reading = Reading(shape=OneShape(length=length), own_labels=not labelled)
    interface = interface_of(Takes(named), reading.collate(items[:2]), None, "train")
    assert set(interface.names) == {"input_ids", "attention_mask"}
    data = materialise(DataLoader(Tokenized(labelled), 4), reading=Reading(interface, reading.shape, not labelled))
    parts = dict(zip(interface.names, tensors_of(data.inputs(slice(None))), strict=True))
    filled = [0] * ((length or 4) - 4)
    assert parts["input_ids"].tolist() == [[*item["input_ids"], *filled] for item in items]
    if labelled:
        assert data.labels.tolist() == [i % 3 for i in range(6)]
    else:
        assert data.labels[0].tolist() == [1, 2, 3, -100, *(-100 for _ in filled)]
        assert data.labels[5].tolist() == [1, 2, 3, 5, *(-100 for _ in filled)]


class Beside(Dataset[Any]):
    """Texts of 16 to 20 tokens, each with 20 features and what `label` makes of its tokens."""

    def __init__(self, label: Callable[[Tensor], Any], count: int = 40) -> None:
        self.label, self.count = label, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        words = torch.arange(1, 17 + index % 5) % 9 + 1
        return {"input_ids": words, "features": torch.full((20,), float(index)), "labels": self.label(words)}


class Reads(nn.Module):
    def forward(self, input_ids: Tensor, features: Tensor) -> Tensor:
        return features


def own_collate(items: list[Any]) -> Any:
    """Return a batch that is filled up to its longest text."""
    words = nn.utils.rnn.pad_sequence([item["input_ids"] for item in items], batch_first=True)
    rest = {key: torch.stack([torch.as_tensor(item[key]) for item in items]) for key in ("features", "labels")}
    return {"input_ids": words, **rest}


def read_through(task: Task, how: str) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the inputs and labels of the validation split of a task."""
    collate = own_collate if how == "own collate" else None
    given: Any = task.validation
    source = given if how == "dataset" else DataLoader(given, 5, collate_fn=collate)
    task = replace(task, validation=source)
    data = materialise(source, reading=task.reading())
    return tensors_of(data.inputs(slice(None))), data.labels


LABELS: dict[str, tuple[Any, Callable[[Tensor], Any]]] = {
    "multilabel": ("multilabel", lambda words: torch.ones(20)),
    "regression": ("regression", lambda words: torch.full((20,), 0.5)),
    "shares": ("classification", lambda words: torch.full((20,), 0.05)),
    "of a loss of its own": (None, lambda words: torch.full((20,), 3)),
}


@pytest.mark.parametrize("how", ["dataset", "loader", "own collate"])
@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("length", [8, 32])
def test_labels_and_features_as_many_as_tokens_by_chance_stay(name: str, how: str, length: int) -> None:
    kind, label = LABELS[name]
    own: Any = {"loss": lambda o, y: o.sum(), "metric": lambda o, y: 1.0} if kind is None else {}
    parts = [Beside(label)] * 3
    (ids, features), labels = read_through(Task(Reads(), *parts, kind=kind, length=length, **own), how)
    assert ids.shape == (40, length) and ids[2, :8].tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert torch.equal(features, torch.arange(40.0)[:, None].expand(40, 20))
    assert torch.equal(labels, label(ids[0]).expand(40, 20))


@pytest.mark.parametrize("kind", ["tokens", "regression"])
def test_labels_of_every_position_follow_their_text(kind: Any) -> None:
    parts = [Beside(lambda words: words.float() if kind == "regression" else words)] * 3
    # what a regression's own loss and metric would count is never made up
    own: Any = {"loss": lambda o, y: o.sum(), "metric": lambda o, y: 1.0} if kind == "regression" else {}
    (ids, features), labels = read_through(Task(Reads(), *parts, kind=kind, length=18, **own), "dataset")
    assert ids.shape == labels.shape == (40, 18) and features.shape == (40, 20)
    assert torch.equal(labels[4], ids[4].to(labels.dtype)), "cut"
    assert labels[0].tolist() == [*ids[0, :16].tolist(), -100, -100], "filled up with what does not count"


class Captioned(Dataset[Any]):
    """Pictures of differing size, with a text and its title of differing length."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        picture, words = torch.ones(3, 8 + index, 9), torch.arange(1, 4 + index)
        return (picture, words, torch.arange(1, 8 - index)), index


def test_each_input_that_differs_is_brought_to_the_length_or_the_size_that_is_its_own() -> None:
    task = Task(Takes(lambda picture, text, title: picture), *[Captioned()] * 3, length=5, size=(6, 6))
    inputs = tensors_of(materialise(Captioned(), reading=task.reading()).inputs(slice(None)))
    assert [tuple(part.shape) for part in inputs] == [(7, 3, 6, 6), (7, 5), (7, 5)]
    assert inputs[1][0].tolist() == [1, 2, 3, 0, 0] and inputs[2][0].tolist() == [1, 2, 3, 4, 5]


class Flow(IterableDataset[Any]):
    """The same items as a stream."""

    def __iter__(self) -> Iterator[Any]:
        return iter([Beside(lambda words: 1)[i] for i in range(40)])


def test_loaders_that_draw_in_their_own_way_take_texts_of_differing_length() -> None:
    items = Beside(lambda words: 1)
    for source in (DataLoader(items, 8, sampler=WeightedRandomSampler([1.0] * 40, 40)), DataLoader(Flow(), 8)):
        data = as_data(source, reading=Task(Reads(), source, items, items, length=21).reading())
        inputs, _ = data.epoch_plan(0, 8, 0).batch(0)
        assert [tuple(part.shape) for part in tensors_of(inputs)] == [(8, 21), (8, 20)]
    assert source.collate_fn is default_collate, "a user's own loader is not changed"


def test_labels_of_differing_shape_are_told_of_where_a_length_is_given() -> None:
    parts = [Beside(lambda words: torch.ones(len(words)))] * 3
    with pytest.raises(DataError, match=r"labels, and inputs .* keep their shape: .*, or give images a size"):
        read_through(Task(Reads(), *parts, kind="multilabel", length=20), "dataset")
