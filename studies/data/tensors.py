"""Examples in memory whose inputs are any tensors, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...compression.seeds import seeded_generator
from ...spaces.inputs import Inputs, count_of, mapped, rows_of
from .images import ImageData


@dataclass(frozen=True, eq=False)
class TensorData:
    """Examples in memory, given to the network as they are.

    Attributes:
        stored: The inputs, [N, ...] each.
        labels: [N, ...], of whatever the task's kind asks for.
    """

    stored: Inputs
    labels: Tensor

    cacheable: ClassVar[bool] = True
    """One (epoch, step) always gives the same tensors, so a teacher's outputs may be kept."""

    def __len__(self) -> int:
        return count_of(self.stored)

    def inputs(self, indices: Tensor | Sequence[int] | slice) -> Inputs:
        """Return the inputs of these examples, [B, ...] each."""
        if not isinstance(indices, (slice, Tensor)):
            indices = torch.as_tensor(indices, dtype=torch.int64)
        return mapped(torch.clone, rows_of(self.stored, indices))

    def epoch_plan(self, epoch: int, batch_size: int, seed: int) -> TensorEpoch:
        """Return the batches of one epoch.

        Args:
            epoch: Number of the epoch; the order of examples follows from (seed, epoch).
            batch_size: Examples in a batch.
            seed: Of the order.
        """
        order = torch.randperm(len(self), generator=seeded_generator(seed, epoch)).to(self.labels.device)
        return TensorEpoch(self, order, batch_size)

    def to(self, device: torch.device | str) -> TensorData:
        """Return the same examples on another device; batches are then made there."""
        return replace(self, stored=mapped(lambda part: part.to(device), self.stored), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class TensorEpoch:
    """The batches of one epoch. An incomplete last batch is left out, unless it is the only one.

    Attributes:
        data: What the batches are of.
        order: All examples [N] in the order of this epoch.
        batch_size: Examples in a batch.
    """

    data: TensorData
    order: Tensor
    batch_size: int

    @property
    def steps(self) -> int:
        """Number of batches in this epoch, at least 1."""
        return max(1, len(self.order) // self.batch_size)

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and the labels of a batch."""
        rows = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        return self.data.inputs(rows), self.data.labels[rows]


MemoryData = ImageData | TensorData
"""Examples in memory."""
