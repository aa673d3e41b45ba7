"""The batches of one epoch over examples in memory: the same for the same seed, epoch and step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...compression.seeds import seeded_generator
from ...spaces.inputs import Inputs


class Examples(Protocol):
    """Examples in memory."""

    @property
    def labels(self) -> Tensor:
        """[N, ...]."""

    def __len__(self) -> int:
        """Return N."""

    def training_inputs(self, rows: Tensor, *seed: int) -> Inputs:
        """Return the inputs of these rows as training sees them; augmentation follows from the seed."""


@dataclass(frozen=True, eq=False)
class MemoryEpoch:
    """The batches of one epoch. An incomplete last batch is left out, unless it is the only one.

    Attributes:
        data: What the batches are of.
        order: All rows [N] in the order of this epoch.
        epoch: Number of the epoch.
        batch_size: Rows in a batch.
        seed: Of augmentation.
    """

    data: Examples
    order: Tensor
    epoch: int
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Number of batches in this epoch, at least 1."""
        return max(1, len(self.order) // self.batch_size)

    def indices(self, step: int) -> Tensor:
        """Return the rows [B] that make up this batch."""
        return self.order[step * self.batch_size : (step + 1) * self.batch_size]

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return inputs [B, ...] of each kind and labels [B, ...], the same for one (seed, epoch, step)."""
        rows = self.indices(step)
        return self.data.training_inputs(rows, self.seed, self.epoch, step), self.data.labels[rows]


def epoch_over(data: Examples, epoch: int, batch_size: int, seed: int) -> MemoryEpoch:
    """Return the batches of one epoch.

    Args:
        data: What the batches are of.
        epoch: Number of the epoch; the order of rows follows from (seed, epoch).
        batch_size: Rows in a batch.
        seed: Of order and augmentation, which follows from (seed, epoch, step).
    """
    order = torch.randperm(len(data), generator=seeded_generator(seed, epoch)).to(data.labels.device)
    return MemoryEpoch(data, order, epoch, batch_size, seed)
