"""Labelled images in memory: normalised, and augmented for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...compression.seeds import seeded_generator
from ...errors import DataError, UnknownName
from .epochs import MemoryEpoch, epoch_over

Batch = tuple[Tensor, Tensor]
"""Inputs [B, ...], float32, and labels [B], int64."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled inputs in memory.

    Making one raises DataError where the parts do not fit together, and UnknownName for another augmentation.

    Attributes:
        images: [N, C, H, W], uint8 or float32; or plain inputs [N, ...], float32.
        labels: [N], int64.
        mean: One number for each channel, subtracted after uint8 was scaled by 1/255. Empty means not at all.
        std: One number for each channel, divided by afterwards. Empty means not at all.
        augment: What training batches go through: "none", "crop" (a random crop after padding H//8 zeros on every
            side) or "crop_flip" (and a horizontal flip half of the time).
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augment: str = "none"

    cacheable: ClassVar[bool] = True
    """One (epoch, step) always gives the same tensors, so a teacher's outputs may be kept."""

    def __post_init__(self) -> None:
        if self.images.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"images must be uint8 or float32, got {_dtype(self.images)}: convert them")
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise DataError(
                f"labels must be int64 of shape [N], got {_dtype(self.labels)} {list(self.labels.shape)}: "
                "give one class number per image"
            )
        if self.images.ndim < 2 or len(self.images) != len(self.labels):
            raise DataError(
                f"images {list(self.images.shape)} and labels {list(self.labels.shape)} do not belong "
                "together: both must start with the same N"
            )
        if self.augment not in ("none", "crop", "crop_flip"):
            raise UnknownName("augmentation", self.augment, ("none", "crop", "crop_flip"))
        if self.augment != "none" and self.images.ndim != 4:
            shape = list(self.images.shape)
            raise DataError(f"augment = {self.augment!r} needs images [N, C, H, W], got {shape}")
        channels = self.images.shape[1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != channels:
                raise DataError(f"{name} has {len(values)} numbers for {channels} channels: one per channel")
        if any(value <= 0 for value in self.std):
            raise DataError(f"std must be above 0 in every channel, got {list(self.std)}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """The largest label plus one; 0 without any data."""
        return int(self.labels.max()) + 1 if len(self) else 0

    def inputs(self, indices: Tensor | Sequence[int] | slice) -> Tensor:
        """Return the normalised inputs of these rows as float32 [B, ...], never augmented."""
        if not isinstance(indices, (slice, Tensor)):
            indices = torch.as_tensor(indices, dtype=torch.int64)
        return self._normalised(self.images[indices])

    def training_inputs(self, rows: Tensor, *seed: int) -> Tensor:
        """Return the normalised, augmented inputs of these rows; augmentation follows from the seed."""
        if self.augment == "none":
            return self.inputs(rows)
        images = _random_crop(self.images[rows], seeded_generator(*seed), flip=self.augment == "crop_flip")
        return self._normalised(images)

    def epoch_plan(self, epoch: int, batch_size: int, seed: int) -> MemoryEpoch:
        """Return the batches of one epoch; see `epoch_over`."""
        return epoch_over(self, epoch, batch_size, seed)

    def batch(self, epoch: int, step: int, batch_size: int, seed: int) -> Batch:
        """Return one batch on its own, which is `epoch_plan(...).batch(step)`. In a loop, make the plan once."""
        inputs, labels = self.epoch_plan(epoch, batch_size, seed).batch(step)
        assert isinstance(inputs, Tensor)
        return inputs, labels

    def take(self, indices: Tensor | Sequence[int]) -> ImageData:
        """Return these rows, in this order."""
        index = torch.as_tensor(indices, dtype=torch.int64, device=self.labels.device)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def split(self, part: float | int, seed: int) -> tuple[ImageData, ImageData]:
        """Return two disjoint parts, each in the order of the data: the rest, and a random part.

        Args:
            part: Size of the second, as a fraction (a float between 0 and 1) or a count of rows.
            seed: Of the choice.

        Raises:
            DataError: A side would be empty.
        """
        count = part if isinstance(part, int) else round(part * len(self))
        if not 0 < count < len(self):
            raise DataError(f"cannot split {part} off {len(self)} images: both parts need at least one")
        order = torch.randperm(len(self), generator=seeded_generator(seed, "split"))
        return self.take(order[count:].sort().values), self.take(order[:count].sort().values)

    def to(self, device: torch.device | str) -> ImageData:
        """Return the same data on another device; batches are then made there."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def _normalised(self, images: Tensor) -> Tensor:
        images = images.float().div_(255.0) if images.dtype == torch.uint8 else images.clone()
        shape = (1, -1) + (1,) * (images.ndim - 2)
        if self.mean:
            images.sub_(torch.tensor(self.mean, device=images.device).view(shape))
        if self.std:
            images.div_(torch.tensor(self.std, device=images.device).view(shape))
        return images


def check_labels(labels: Tensor, classes: int, split: str) -> None:
    """Check that labels lie in 0..classes-1.

    Args:
        labels: [N], int64.
        classes: Number of classes.
        split: What the labels are of, for the message.

    Raises:
        DataError: Some label does not; the message names the first row.
    """
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        from_one = int(labels.min()) == 1 and int(labels.max()) == classes
        advice = "they seem to start at 1: subtract 1" if from_one else "correct the labels"
        raise DataError(
            f"{split} labels: row {row} has label {int(labels[row])}, allowed are 0 to {classes - 1} (the "
            f"teacher has {classes} outputs); {len(wrong)} of {len(labels)} are out of range: {advice}"
        )


def _random_crop(images: Tensor, generator: torch.Generator, flip: bool) -> Tensor:
    count, _, height, width = images.shape
    pad_y, pad_x = height // 8, width // 8
    tops = torch.randint(0, 2 * pad_y + 1, (count, 1), generator=generator)
    lefts = torch.randint(0, 2 * pad_x + 1, (count, 1), generator=generator)
    rows = torch.arange(height) + tops
    columns = torch.arange(width) + lefts
    if flip:
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    which = torch.arange(count)[:, None, None].to(images.device)
    # One gather for the whole batch; the channels come out last, which is the layout training wants.
    rows, columns = rows[:, :, None].to(images.device), columns[:, None].to(images.device)
    return padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
