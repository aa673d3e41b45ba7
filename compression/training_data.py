"""What training needs of data, whoever brings it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ..spaces.inputs import Inputs


class EpochPlan(Protocol):
    """The batches of one epoch."""

    @property
    def steps(self) -> int:
        """Number of batches in this epoch."""
        ...

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs, [B, ...] each, and the labels [B, ...] of one batch.

        Plans of data that is not `cacheable` may ask for steps in ascending order, each once.
        """
        ...


class TrainingData(Protocol):
    """Data that a student is taught on.

    Attributes:
        cacheable: Whether one (epoch, step) always gives the same tensors, so that a teacher's outputs may be kept.
    """

    @property
    def cacheable(self) -> bool:
        """See above."""
        ...

    def epoch_plan(self, epoch: int, batch_size: int, seed: int) -> EpochPlan:
        """Return the batches of one epoch.

        Args:
            epoch: Number of the epoch, from 0.
            batch_size: Inputs in a batch, where the data does not bring batches of its own.
            seed: Of order and augmentation.
        """
        ...


class LabelledData(Protocol):
    """Data that a student is looked at on."""

    @property
    def labels(self) -> Tensor:
        """The labels [N, ...]."""
        ...

    def __len__(self) -> int:
        """Return the number of inputs."""
        ...

    def inputs(self, indices: Tensor | Sequence[int] | slice, /) -> Inputs:
        """Return the inputs of these rows, [B, ...] each, never augmented."""
        ...
