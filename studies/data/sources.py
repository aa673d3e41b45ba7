"""From a user's Dataset or DataLoader to data that the search can use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from ...compression.seeds import seeded_generator
from ...errors import DataError, one_line
from .images import Batch, ImageData, check_labels

LIMIT_BYTES = 4 * 2**30
"""The most that is read into memory of one split."""


@dataclass(frozen=True, eq=False)
class StreamedData:
    """Training data that is fetched anew each epoch, because its items are random or too large for memory.

    Attributes:
        source: A map-style Dataset, or a DataLoader, whose own batches, order and workers are then used as they are.
        classes: Number of classes that labels are checked against as batches come; None checks nothing.
    """

    source: Dataset[Any] | DataLoader[Any]
    classes: int | None = None

    cacheable: ClassVar[bool] = False
    """One (epoch, step) may give other tensors next time."""

    def __len__(self) -> int:
        return len(_dataset(self.source))  # type: ignore[arg-type]

    def epoch_plan(self, epoch: int, batch_size: int, seed: int) -> StreamedEpoch:
        """Return the batches of one epoch.

        Args:
            epoch: Number of the epoch.
            batch_size: Items in a batch; it counts only for a Dataset.
            seed: The order of a Dataset's items follows from (seed, epoch).
        """
        if isinstance(self.source, DataLoader):
            return StreamedEpoch(self.source, self.classes)
        loader = DataLoader(
            self.source,
            batch_size,
            shuffle=True,
            generator=seeded_generator(seed, epoch),
            drop_last=len(self) >= batch_size,
        )
        return StreamedEpoch(loader, self.classes)

    def with_classes(self, classes: int) -> StreamedData:
        """Return the same data, its labels checked against this many classes."""
        return replace(self, classes=classes)


@dataclass(eq=False)
class StreamedEpoch:
    """One pass over streamed data, which gives `batch(0)`, `batch(1)`, ... in this order, each once.

    Attributes:
        loader: What fetches the batches.
        classes: Number of classes that labels are checked against; None checks nothing.
    """

    loader: DataLoader[Any]
    classes: int | None
    _batches: Iterator[Any] | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)

    @property
    def steps(self) -> int:
        """Number of batches in this epoch."""
        return len(self.loader)

    def batch(self, step: int) -> Batch:
        """Return inputs [B, ...] and labels [B].

        Raises:
            ValueError: A step is out of order.
            DataError: The batch cannot be used.
        """
        if step != self._next:
            raise ValueError(f"streamed batches come in order: expected step {self._next}, got {step}")
        if self._batches is None:
            self._batches = _read(self.loader, "train")
        inputs, labels = checked_batch(next(self._batches), "train")
        if self.classes is not None:
            check_labels(labels, self.classes, "train")
        self._next += 1
        return inputs, labels


def as_data(
    source: Dataset[Any] | DataLoader[Any] | ImageData | StreamedData,
    split: str = "train",
    limit_bytes: int = LIMIT_BYTES,
) -> ImageData | StreamedData:
    """Return training data: read into memory when its items never change and fit `limit_bytes`, else streamed.

    Args:
        source: A user's data.
        split: What it is, for messages.
        limit_bytes: The most that is kept in memory.

    Raises:
        DataError: There are no items, or they are not pairs of a float tensor and an integer label.
    """
    if isinstance(source, (ImageData, StreamedData)):
        return source
    dataset = _dataset(source, split)
    count = len(dataset)  # type: ignore[arg-type]
    if count == 0:
        raise DataError(f"the {split} split is empty: give at least one item")
    first = _item(source, 0, split)
    if first.numel() * 4 * count > limit_bytes or _has_own_order(source) or _is_random(source, count, split):
        return StreamedData(source)
    return materialise(source, split, limit_bytes)


def materialise(
    source: Dataset[Any] | DataLoader[Any] | ImageData | StreamedData,
    split: str = "validation",
    limit_bytes: int = LIMIT_BYTES,
) -> ImageData:
    """Read a source into memory in one pass, in the order of its dataset, whatever its items do next time.

    Args:
        source: A user's data.
        split: What it is, for messages.
        limit_bytes: The most that is kept in memory.

    Raises:
        DataError: Items cannot be used, there are none, or they need more than `limit_bytes`.
    """
    if isinstance(source, ImageData):
        return source
    if isinstance(source, StreamedData):
        source = source.source
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    size_bytes = 0
    for batch in _read(_in_order(source, split), split):
        images, numbers = checked_batch(batch, split)
        if not bool(torch.isfinite(images).all()):
            rows = _span(labels, numbers)
            raise DataError(f"the {split} split has NaN or infinite inputs in items {rows}: mend them")
        inputs.append(images)
        labels.append(numbers)
        size_bytes += images.numel() * 4
        if size_bytes > limit_bytes:
            raise DataError(
                f"the {split} split needs more than {limit_bytes / 2**30:.1f} GiB in memory: "
                "give fewer items, for instance by torch.utils.data.Subset"
            )
    if not labels:
        raise DataError(f"the {split} split is empty: give at least one item")
    try:
        return ImageData(torch.cat(inputs), torch.cat(labels))
    except RuntimeError as error:
        raise DataError(f"the {split} split has items of differing shapes: {one_line(error)}") from error


def checked_batch(batch: Any, split: str) -> Batch:
    """Return a batch as float32 inputs [B, ...] and int64 labels [B].

    Args:
        batch: What a loader gave.
        split: What it is of, for messages.

    Raises:
        DataError: It is anything else than float inputs and integer labels.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        got = type(batch).__name__
        raise DataError(f"{split} items must be (input, label) pairs, got {got}: return a pair")
    inputs, labels = batch
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.ndim < 2:
        raise DataError(
            f"{split} inputs must be float tensors [N, ...], got {_describe(inputs)}: "
            "convert and scale them in the dataset"
        )
    integer = isinstance(labels, Tensor) and not labels.is_floating_point() and not labels.is_complex()
    if not integer or labels.ndim != 1 or len(labels) != len(inputs):
        raise DataError(
            f"{split} labels must be integers [N], one per input, got {_describe(labels)}: "
            "return one class number per item"
        )
    return inputs.float(), labels.long()


def _dataset(source: Dataset[Any] | DataLoader[Any], split: str = "train") -> Dataset[Any]:
    dataset = source.dataset if isinstance(source, DataLoader) else source
    sized = all(callable(getattr(dataset, name, None)) for name in ("__getitem__", "__len__"))
    if isinstance(dataset, IterableDataset) or not sized:
        raise DataError(
            f"the {split} split is a {type(dataset).__name__}, which has no length or no items by number: "
            "give a map-style torch Dataset, or a DataLoader over one"
        )
    return dataset


def _has_own_order(source: Dataset[Any] | DataLoader[Any]) -> bool:
    # A weighted or grouped sampler is part of how the user trains; plain shuffling is not.
    plain = (SequentialSampler, RandomSampler)
    return isinstance(source, DataLoader) and not isinstance(source.sampler, plain)


def _in_order(source: Dataset[Any] | DataLoader[Any], split: str) -> DataLoader[Any]:
    dataset = _dataset(source, split)
    if isinstance(source, DataLoader):
        return source if _has_own_order(source) else DataLoader(dataset, 256, collate_fn=source.collate_fn)
    return DataLoader(dataset, 256)


def _item(source: Dataset[Any] | DataLoader[Any], index: int, split: str) -> Tensor:
    collate = source.collate_fn if isinstance(source, DataLoader) else None
    loader = DataLoader(_dataset(source, split), batch_size=1, sampler=[index], collate_fn=collate)
    return checked_batch(next(iter(_read(loader, split))), split)[0]


def _is_random(source: Dataset[Any] | DataLoader[Any], count: int, split: str) -> bool:
    # Half of the items keep their look under a random flip, so a few items would not tell.
    looks = min(count, 32)
    chosen = [i * count // looks for i in range(looks)]
    return any(not torch.equal(_item(source, i, split), _item(source, i, split)) for i in chosen)


def _read(loader: Iterable[Any], split: str) -> Iterator[Any]:
    try:
        yield from loader
    except DataError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {_cause(error)}"
        raise DataError(f"the {split} split cannot be read: {cause}; mend its dataset") from error


def _cause(error: Exception) -> str:
    # Errors out of DataLoader workers carry a whole traceback; its last line is the cause.
    text = str(error).strip()
    return one_line(text.splitlines()[-1] if text.startswith("Caught ") else error)


def _describe(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _span(before: list[Tensor], current: Tensor) -> str:
    start = sum(map(len, before))
    return f"{start} to {start + len(current) - 1}"
