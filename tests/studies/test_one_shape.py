"""Examples of differing length and images of differing size come in one shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_reading import ID, PIXELS, Takes, Y, named, one, two
from torch.utils.data import DataLoader, Dataset

from autocompress.errors import DataError
from autocompress.spaces.inputs import tensors_of
from autocompress.studies.data.one_shape import OneShape
from autocompress.studies.data.reading import Reading, interface_of
from autocompress.studies.data.sources import materialise
from autocompress.studies.data.tensors import TensorData


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
