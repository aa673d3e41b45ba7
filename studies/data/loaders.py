"""What the search asks of a user's Dataset or DataLoader."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from ...errors import DataError, one_line
from .reading import PAIRS, Reading

TENSORS = "turn images into tensors in the dataset, for instance by torchvision.transforms.ToTensor()"
Source = Dataset[Any] | DataLoader[Any]
TOGETHER = 256
"""Items that are read together."""


def is_stream(source: Source) -> bool:
    """Tell whether a source has no items by number."""
    return isinstance(source.dataset if isinstance(source, DataLoader) else source, IterableDataset)


def dataset_of(source: Source, split: str = "train") -> Dataset[Any]:
    """Return the dataset of a source.

    Raises:
        DataError: It has no length, or no items by number.
    """
    dataset = source.dataset if isinstance(source, DataLoader) else source
    if not all(callable(getattr(dataset, name, None)) for name in ("__getitem__", "__len__")):
        raise DataError(
            f"the {split} split is a {type(dataset).__name__}, which has no length or no items by number: "
            "give a torch Dataset, an IterableDataset, or a DataLoader over one"
        )
    return dataset


def has_own_order(source: Source) -> bool:
    """Tell whether a source draws its items in a way of its own, which is part of how the user trains.

    Plain shuffling is not.
    """
    if not isinstance(source, DataLoader):
        return False
    batches: Any = source.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        return True
    sampler = source.sampler if batches is None else batches.sampler
    return not isinstance(sampler, SequentialSampler | RandomSampler)


def draws_again(source: Source) -> bool:
    """Tell whether the sampler of a source draws items more than once."""
    if not isinstance(source, DataLoader) or is_stream(source):
        return False
    inner = getattr(source.batch_sampler, "sampler", source.sampler)
    return bool(getattr(inner, "replacement", False))


def in_order(source: Source, split: str, reading: Reading, size: int = TOGETHER) -> DataLoader[Any]:
    """Return what gives each item once, in the order of the dataset or of the sampler that a user chose.

    Args:
        source: A user's data.
        split: What it is, for messages.
        reading: How items become a batch.
        size: Items in a batch, where the source does not bring batches of its own.
    """
    if is_stream(source):
        if isinstance(source, DataLoader):
            return in_one_shape(source, reading)
        return DataLoader(source, size, collate_fn=reading.collate)
    dataset = dataset_of(source, split)
    if isinstance(source, DataLoader):
        indices = getattr(source.sampler, "indices", None)
        if indices is not None and type(source.batch_sampler) is BatchSampler:
            # it says which items the split has; their order is drawn anew each time
            return DataLoader(Subset(dataset, sorted(indices)), size, collate_fn=collate_of(source, reading))
        if has_own_order(source):
            return in_one_shape(source, reading)
        return DataLoader(dataset, size, collate_fn=collate_of(source, reading))
    return DataLoader(dataset, size, collate_fn=reading.collate)


def collate_of(source: DataLoader[Any], reading: Reading) -> Callable[[list[Any]], Any]:
    """Return what makes a batch of items: the loader's own function, where it has one."""
    return reading.collate if source.collate_fn is default_collate else source.collate_fn


def in_one_shape(source: DataLoader[Any], reading: Reading) -> DataLoader[Any]:
    """Return a loader that is used as it is, but for items of differing shape, of which torch makes no batch."""
    if source.collate_fn is not default_collate or not reading.shape.differs:
        return source
    made = copy.copy(source)
    made.collate_fn, made._iterator = reading.collate, None
    return made


def one_shape_advice(reading: Reading) -> str:
    """Return what to do where the items of a source differ in shape."""
    size = "images a size by Task(size=(height, width))" if reading.shape.size is None else ""
    length = "sequences a length by Task(length=...)" if reading.shape.length is None else ""
    if size and length:
        return f"give {size}, and {length}"
    kept = "labels, and inputs that did not differ in it in a few items, keep their shape: bring them to one shape"
    return f"{kept}, or give {size or length}" if size or length else kept


def read(loader: Iterable[Any], split: str, reading: Reading = PAIRS) -> Iterator[Any]:
    """Yield the batches of a loader; what the user's code raises is told in one line.

    Raises:
        DataError: It cannot be read.
    """
    try:
        yield from loader
    except DataError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {_cause(error)}"
        shapes = one_shape_advice(reading)
        advice = shapes if "equal size" in cause else TENSORS if "PIL" in cause else "mend its dataset"
        raise DataError(f"the {split} split cannot be read: {cause}; {advice}") from error


def _cause(error: Exception) -> str:
    # Errors out of DataLoader workers carry a whole traceback; its last line is the cause.
    text = str(error).strip()
    return one_line(text.splitlines()[-1] if text.startswith("Caught ") else error)
