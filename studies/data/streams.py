"""Training data that is fetched anew each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ...compression.seeds import seeded_generator
from ...errors import DataError
from ...spaces.inputs import Inputs, joined, rows_of
from .loaders import Source, dataset_of, in_one_shape, in_order, is_stream, read
from .reading import PAIRS, Reading, check_finite

Check = Callable[[Tensor, str], None]
"""Is given labels and the name of their split; raises DataError where they cannot be."""


@dataclass(frozen=True, eq=False)
class StreamedData:
    """Training data that is fetched anew each epoch, because its items are random or too large for memory.

    Attributes:
        source: A Dataset, or a DataLoader, whose own batches, order and workers are then used as they are.
        reading: How its batches become inputs and labels.
        check: Is asked about the labels of each batch; None asks nothing.
        counted: Items and batches of a pass, where the source cannot tell.
    """

    source: Source
    reading: Reading = PAIRS
    check: Check | None = None
    counted: tuple[int, int] | None = None

    cacheable: ClassVar[bool] = False
    """One (epoch, step) may give other tensors next time."""

    def __len__(self) -> int:
        return self.counted[0] if self.counted else len(dataset_of(self.source, "train"))  # type: ignore[arg-type]

    def epoch_plan(self, epoch: int, batch_size: int, seed: int) -> StreamedEpoch:
        """Return the batches of one epoch.

        Args:
            epoch: Number of the epoch.
            batch_size: Items in a batch; it counts only for a Dataset.
            seed: The order of a Dataset's items follows from (seed, epoch).
        """
        if isinstance(self.source, DataLoader) or is_stream(self.source):
            if isinstance(self.source, DataLoader):
                loader = in_one_shape(self.source, self.reading)
            else:
                loader = in_order(self.source, "train", self.reading)
            steps = self.counted[1] if self.counted else len(loader)
            return StreamedEpoch(loader, steps, self.reading, self.check)
        loader = DataLoader(
            self.source,
            batch_size,
            shuffle=True,
            generator=seeded_generator(seed, epoch),
            drop_last=len(self) >= batch_size,
            collate_fn=self.reading.collate,
        )
        return StreamedEpoch(loader, len(loader), self.reading, self.check)

    def batch_of(self, batch_size: int) -> int:
        """Return how many items a batch has where so many are asked for: a loader and a stream bring their own."""
        if not isinstance(self.source, DataLoader) and not is_stream(self.source):
            return batch_size
        plan = self.epoch_plan(0, batch_size, 0)
        return plan.loader.batch_size or max(1, round(len(self) / max(1, plan.steps)))

    def checked(self, check: Check) -> StreamedData:
        """Return the same data, whose labels are checked as they come."""
        return replace(self, check=check)


@dataclass(eq=False)
class StreamedEpoch:
    """One pass over streamed data, which gives `batch(0)`, `batch(1)`, ... in this order, each once.

    A batch of one item, as the last of an epoch may be, comes with an item of the batch before it: norms cannot learn
    from one.

    Attributes:
        loader: What fetches the batches.
        steps: Number of batches in this epoch.
        reading: How its batches become inputs and labels.
        check: Is asked about the labels of each batch; None asks nothing.
    """

    loader: DataLoader[Any]
    steps: int
    reading: Reading
    check: Check | None
    _batches: Iterator[Any] | None = field(default=None, init=False)
    _next: int = field(default=0, init=False)
    _before: tuple[Inputs, Tensor] | None = field(default=None, init=False)

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return inputs [B, ...] and labels [B, ...].

        Raises:
            ValueError: A step is out of order.
            DataError: The batch cannot be used.
        """
        if step != self._next:
            raise ValueError(f"streamed batches come in order: expected step {self._next}, got {step}")
        inputs, labels = self.reading.batch(self._fetched(), "train")
        check_finite(inputs, "train", f"batch {step} of an epoch")
        if self.check is not None:
            self.check(labels, "train")
        if len(labels) == 1 and self._before is not None:
            inputs, labels = joined([self._before[0], inputs]), torch.cat([self._before[1], labels])
        elif len(labels) > 1:
            self._before = rows_of(inputs, slice(-1, None)), labels[-1:]
        self._next += 1
        return inputs, labels

    def _fetched(self) -> Any:
        for _ in range(2):
            if self._batches is None:
                self._batches = read(self.loader, "train", self.reading)
            try:
                return next(self._batches)
            except StopIteration:  # a stream that was shorter this time begins anew
                self._batches = None
        raise DataError("the train split gives no batches any more: it must be readable in every epoch")
