"""Examples in memory whose inputs are any tensors, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...spaces.inputs import Inputs, count_of, mapped, rows_of
from .epochs import MemoryEpoch, epoch_over
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

    def training_inputs(self, rows: Tensor, *seed: int) -> Inputs:
        """Return the inputs of these rows as training sees them, which is as they are."""
        return self.inputs(rows)

    def epoch_plan(self, epoch: int, batch_size: int, seed: int) -> MemoryEpoch:
        """Return the batches of one epoch; see `epoch_over`."""
        return epoch_over(self, epoch, batch_size, seed)

    def to(self, device: torch.device | str) -> TensorData:
        """Return the same examples on another device; batches are then made there."""
        return replace(self, stored=mapped(lambda part: part.to(device), self.stored), labels=self.labels.to(device))


MemoryData = ImageData | TensorData
"""Examples in memory."""
