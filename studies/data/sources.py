"""From a user's Dataset or DataLoader to data that the search can use."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from ...errors import DataError, one_line
from ...memory import available_bytes, gibibytes
from ...spaces.graph.interface import Interface
from ...spaces.inputs import Inputs, joined, rows_of, tensors_of
from .images import ImageData
from .loaders import (
    TOGETHER,
    Source,
    collate_of,
    dataset_of,
    draws_again,
    has_own_order,
    in_order,
    is_stream,
    one_shape_advice,
    read,
)
from .reading import PAIRS, Reading, check_finite, size_bytes
from .streams import StreamedData
from .tensors import MemoryData, TensorData

LIMIT_BYTES = 4 * 2**30
"""The most that is read into memory of one split."""
CHECKED = 256
"""Items that are looked at together."""
UNNAMED = Reading(Interface(names=()))
"""Items whose inputs are not known yet."""
FIRST = 8
"""Items of a source that show how a batch is made up."""
LOOKED_AT, BATCHES = 32, 8
"""Items of a source that are looked at by themselves; batches of a stream that come in their own way."""
SCORED = ("validation", "test")
"""Splits that models are judged on: their items must be the same each time."""


def as_data(
    source: Source | MemoryData | StreamedData,
    split: str = "train",
    limit_bytes: int = LIMIT_BYTES,
    reading: Reading | None = None,
) -> MemoryData | StreamedData:
    """Return training data: read into memory when its items never change and fit `limit_bytes`, else streamed.

    Args:
        source: A user's data.
        split: What it is, for messages.
        limit_bytes: The most that is kept in memory.
        reading: How its batches become inputs and labels.

    Raises:
        DataError: There are no items, or they are not inputs with labels.
    """
    if isinstance(source, StreamedData):
        return source
    if isinstance(source, ImageData | TensorData):
        return _finite(source, split)
    reading = reading or PAIRS
    if is_stream(source):
        return _streamed(source, split, limit_bytes, reading)
    count = _count(source, split)
    if count == 0:
        raise DataError(f"the {split} split is empty: give at least one item")
    first = _item(source, 0, split, reading)
    if size_bytes(first) * count > limit_bytes or has_own_order(source) or _is_random(source, count, split, reading):
        return StreamedData(source, reading)
    return materialise(source, split, limit_bytes, reading)


def materialise(
    source: Source | MemoryData | StreamedData,
    split: str = "validation",
    limit_bytes: int = LIMIT_BYTES,
    reading: Reading | None = None,
) -> MemoryData:
    """Read a source into memory in one pass, in the order of its dataset, whatever its items do next time.

    Args:
        source: A user's data.
        split: What it is, for messages.
        limit_bytes: The most that is kept in memory.
        reading: How its batches become inputs and labels.

    Raises:
        DataError: Items cannot be used, there are none, they need more than `limit_bytes`, or a sampler draws some of
            them more than once.
    """
    if isinstance(source, ImageData | TensorData):
        return _finite(source, split)
    reading = reading or PAIRS
    if isinstance(source, StreamedData):
        return materialise(source.source, split, limit_bytes, source.reading)
    if draws_again(source):
        raise DataError(
            f"the {split} split has a {type(source.sampler).__name__}, which draws items more than once: "  # type: ignore[union-attr]
            "give a loader without it, for figures are taken over each item once"
        )
    if is_stream(source) and _first_two_passes(source, split, reading) is None:
        raise DataError(
            f"the {split} split gives other items when it is read again: it must begin anew, and alike, in __iter__"
        )
    _check_memory(source, split, limit_bytes, reading)
    inputs: list[Inputs] = []
    labels: list[Tensor] = []
    size = 0
    for batch in read(in_order(source, split, reading), split, reading):
        given, numbers = reading.batch(batch, split)
        start = sum(map(len, labels))
        check_finite(given, split, f"items {start} to {start + len(numbers) - 1}")
        inputs.append(given)
        labels.append(numbers)
        size += size_bytes(given)
        if size > limit_bytes:
            raise _too_large(split, limit_bytes)
    if not labels:
        raise DataError(f"the {split} split is empty: give at least one item")
    try:
        stored, known = joined(inputs), torch.cat(labels)
    except RuntimeError as error:
        advice = one_shape_advice(reading)
        raise DataError(f"the {split} split has items of differing shapes: {one_line(error)}; {advice}") from error
    if not is_stream(source) and split in SCORED and _is_random(source, _count(source, split), split, reading):
        raise DataError(
            f"the {split} split gives other items when they are read again: take random augmentation out of it, for "
            "figures on it could not be compared"
        )
    plain = isinstance(stored, Tensor) and stored.is_floating_point() and stored.ndim > 1
    if plain and known.ndim == 1 and not known.is_floating_point():
        assert isinstance(stored, Tensor)
        return ImageData(stored, known)
    return TensorData(stored, known)


def first_batch(source: Source | MemoryData, split: str, reading: Reading | None = None) -> Any:
    """Return the first few items of a source as its loader gives them; None where it is in memory.

    Raises:
        DataError: It is empty or cannot be read.
    """
    if isinstance(source, ImageData | TensorData):
        return None
    reading = reading or PAIRS
    few = in_order(source, split, reading, size=FIRST if not is_stream(source) else TOGETHER)
    batch = next(read(few, split, reading), None)
    if batch is None:
        raise DataError(f"the {split} split is empty: give at least one item")
    return batch


def items_alone(source: Source, split: str) -> list[Any]:
    """Return some items, spread over a source, each in a batch of its own, whatever shapes they have.

    Of a stream, they are the first ones, or the first batches where its loader puts these together in its own way.

    Raises:
        DataError: It is empty or cannot be read.
    """

    def alone(items: list[Any]) -> Any:
        return default_collate([UNNAMED.item(item) for item in items])

    own = source.collate_fn if isinstance(source, DataLoader) and source.collate_fn is not default_collate else None
    items: Any = source.dataset if isinstance(source, DataLoader) else source
    loader: Any = source
    if not is_stream(source):
        items = dataset_of(source, split)
        loader = DataLoader(items, 1, sampler=_spread(len(items)), collate_fn=own or alone)
    elif own is None:
        loader = DataLoader(items, 1, collate_fn=alone)
    found = list(itertools.islice(read(loader, split), BATCHES if loader is source else LOOKED_AT))
    if not found:
        raise DataError(f"the {split} split is empty: give at least one item")
    return found


def _streamed(source: Source, split: str, limit_bytes: int, reading: Reading) -> MemoryData | StreamedData:
    """Return a source that has no length: in memory where two passes begin alike and it fits, else streamed."""
    if _first_two_passes(source, split, reading) is not None:
        try:
            return materialise(source, split, limit_bytes, reading)
        except DataError as error:
            if "GiB in memory" not in str(error):
                raise
    items, batches, size = 0, 0, 0
    for batch in read(in_order(source, split, reading), split, reading):
        given, labels = reading.batch(batch, split)
        items, batches, size = items + len(labels), batches + 1, size + size_bytes(given)
        if size > limit_bytes:  # it may have no end: an epoch is as much as this
            break
    return StreamedData(source, reading, counted=(items, batches))


def _first_two_passes(source: Source, split: str, reading: Reading) -> Inputs | None:
    """Return the first inputs of a stream, None where a second pass begins with others."""
    once, again = (reading.batch(first_batch(source, split, reading), split)[0] for _ in range(2))
    pairs = list(zip(tensors_of(once), tensors_of(again), strict=True))
    return once if all(_is_same(a, b) for a, b in pairs) else None


def _count(source: Source, split: str) -> int:
    return len(dataset_of(source, split))  # type: ignore[arg-type]


def spread_labels(source: Source, reading: Reading) -> Tensor | None:
    """Return the labels of some items of a source, spread over it, by which it is known again.

    Returns:
        The labels; None where an item has another label each time, as when items are mixed.

    Raises:
        DataError: It cannot be read.
    """
    found = []
    for index in _spread(_count(source, "train")):
        once, again = (_labelled(source, index, "train", reading)[1] for _ in range(2))
        if once.shape != again.shape or not torch.equal(once, again):
            return None
        found.append(once.flatten())
    return torch.cat(found)


def _item(source: Source, index: int, split: str, reading: Reading) -> Inputs:
    return _labelled(source, index, split, reading)[0]


def _labelled(source: Source, index: int, split: str, reading: Reading) -> tuple[Inputs, Tensor]:
    collate = collate_of(source, reading) if isinstance(source, DataLoader) else reading.collate
    loader = DataLoader(dataset_of(source, split), batch_size=1, sampler=[index], collate_fn=collate)
    return reading.batch(next(iter(read(loader, split, reading))), split)


def _is_random(source: Source, count: int, split: str, reading: Reading) -> bool:
    for index in _spread(count):
        once, again = (_labelled(source, index, split, reading) for _ in range(2))
        pairs = zip((*tensors_of(once[0]), once[1]), (*tensors_of(again[0]), again[1]), strict=True)
        if not all(_is_same(a, b) for a, b in pairs):
            return True
    return False


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _spread(count: int) -> list[int]:
    # half of the items keep their look under a random flip, so a few items would not tell
    looks = min(count, LOOKED_AT)
    return [i * count // looks for i in range(looks)]


def _check_memory(source: Source, split: str, limit_bytes: int, reading: Reading) -> None:
    """Refuse a split that has no room in memory before it is read; while items are joined, each is there twice."""
    if is_stream(source) or not (count := len(dataset_of(source, split))):  # type: ignore[arg-type]
        return
    needed, free = size_bytes(_item(source, 0, split, reading)) * count, available_bytes()
    if needed > limit_bytes and not has_own_order(source):
        raise _too_large(split, limit_bytes)
    if needed <= limit_bytes and 2 * needed > free:
        raise DataError(
            f"the {split} split needs about {gibibytes(2 * needed)} of memory while it is read, and {gibibytes(free)} "
            "are free: give fewer items, for instance by torch.utils.data.Subset, or end other programs"
        )


def _too_large(split: str, limit_bytes: int) -> DataError:
    return DataError(
        f"the {split} split needs more than {limit_bytes / 2**30:.1f} GiB in memory: "
        "give fewer items, for instance by torch.utils.data.Subset"
    )


def _finite(data: MemoryData, split: str) -> MemoryData:
    """Return data that is in memory already, if it holds no NaN."""
    stored = data.images if isinstance(data, ImageData) else data.stored
    if any(part.is_floating_point() for part in tensors_of(stored)):
        for start in range(0, len(data), CHECKED):
            some = rows_of(stored, slice(start, start + CHECKED))
            check_finite(some, split, f"items {start} to {min(len(data), start + CHECKED) - 1}")
    return data
