"""How long a training is, its learning rate, and its batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..spaces.inputs import Inputs
from .training_data import TrainingData

WARMUP = 0.05
EPOCHS, MOST_EPOCHS = 2.0, 10.0
SMALL_BATCH, LARGE_BATCH = 16, 128
ENOUGH_STEPS = 200


@dataclass(frozen=True)
class Schedule:
    """How long a full recovery is.

    Attributes:
        epochs: Passes over the training data.
        rungs: Fractions of it, ascending, the last 1.
        batch_size: Inputs in a batch.
        weight_decay: Of the weights of layers; biases and norms have none.
        seed: Of the order of the data, and of dropout.
    """

    epochs: float
    rungs: tuple[float, ...]
    batch_size: int
    weight_decay: float = 5e-4
    seed: int = 0

    def steps(self, data: TrainingData) -> int:
        """Return the number of optimizer steps of a full recovery."""
        return max(len(self.rungs), round(self.epochs * data.epoch_plan(0, self.batch_size, self.seed).steps))

    def rung_step(self, rung: int, data: TrainingData) -> int:
        """Return the step at which this rung (0 is the first) ends."""
        return max(rung + 1, round(self.steps(data) * self.rungs[rung]))


def fitting_schedule(examples: int, epochs: float | None = None, batch_size: int | None = None) -> tuple[float, int]:
    """Return how many epochs, and which batch, a training on so many examples takes.

    Students recover by steps: at half the width, a U-Net of 1,280 tiles came to an mIoU of 0.40 after 20 steps with
    batches of 128, and to 0.73 after 160 with batches of 16, in about the same time.

    Args:
        examples: Of the training data.
        epochs: As a user asks; None gives 2, and up to `MOST_EPOCHS` where the smallest batches are too few.
        batch_size: As a user asks; None gives the largest power of two that makes `ENOUGH_STEPS`.
    """
    smallest = batch_size or SMALL_BATCH
    if epochs is None:
        epochs = min(MOST_EPOCHS, max(EPOCHS, ENOUGH_STEPS * smallest / max(1, examples)))
    if batch_size is None:
        most = max(1.0, epochs * examples / ENOUGH_STEPS)
        batch_size = min(LARGE_BATCH, max(SMALL_BATCH, 2 ** math.floor(math.log2(most))))
    return epochs, batch_size


def learning_rate_factor(step: int, total: int) -> float:
    """Return the share of the peak learning rate at a step.

    It is a short linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).

    Args:
        step: Number of the step, from 0.
        total: Number of all steps.
    """
    warm = max(1, round(WARMUP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


class Batches:
    """The batches of a training by step, over the ends of epochs."""

    def __init__(self, data: TrainingData, schedule: Schedule) -> None:
        self._data, self._schedule = data, schedule
        self._steps = data.epoch_plan(0, schedule.batch_size, schedule.seed).steps
        self._epoch, self._first = -1, 0

    def at(self, step: int) -> tuple[int, int, Inputs, Tensor]:
        """Return (epoch, index within it, inputs [B, ...] each, labels [B, ...])."""
        epoch, index = divmod(step, self._steps)
        if epoch != self._epoch:
            seed = self._schedule.seed
            if index and not self._data.cacheable:
                # a stream has no random access: a training that goes on within an epoch takes another order, or it
                # would see the first part of this one twice and the rest never
                seed += 1000 * index
            self._plan = self._data.epoch_plan(epoch, self._schedule.batch_size, seed)
            self._epoch, self._first = epoch, index
        inputs, labels = self._plan.batch(index if self._data.cacheable else index - self._first)
        return epoch, index, inputs, labels
