"""Examples that differ in length, or images that differ in height and width, are brought to one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DataError

FILL = 0
"""What inputs that are too short are filled up with."""


@dataclass(frozen=True)
class OneShape:
    """The shape that the examples of a task are brought to, where they differ in it.

    Attributes:
        length: The second dimension of sequences: shorter ones are filled up, longer ones are cut. None leaves it.
        size: Height and width of images [..., H, W] in pixels. Floating numbers are resized bilinearly, with
            antialiasing; whole numbers, such as maps of classes, take the nearest pixel. None leaves them.
    """

    length: int | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            DataError: One of them is no whole number above 0.
        """
        if self.length is not None and not _is_count(self.length):
            raise DataError(
                f"length = {self.length!r}: give one whole number above 0, for a file has inputs of one length"
            )
        if self.size is not None:
            pair = isinstance(self.size, list | tuple) and len(self.size) == 2
            if not pair or not all(map(_is_count, self.size)):
                raise DataError(f"size = {self.size!r}: give (height, width) in pixels, such as (224, 224)")

    @property
    def differs(self) -> bool:
        """Whether anything is to be changed."""
        return self.length is not None or self.size is not None

    def batch(self, part: Tensor, first: Sequence[int], fill: int) -> Tensor:
        """Return a part of a batch in this shape, if it is as long, or as high and wide, as the first input.

        Args:
            part: [B, ...]: an input, or labels.
            first: Shape of the first input [B, ...] before it was changed.
            fill: What is put behind a sequence that is too short.
        """
        if self.length is not None and part.ndim > 1 and len(first) > 1 and part.shape[1] == first[1]:
            missing = self.length - part.shape[1]
            part = part[:, : self.length]
            if missing > 0:
                part = F.pad(part, (0, 0) * (part.ndim - 2) + (0, missing), value=fill)
        image = len(first) > 2 and part.ndim > 2 and tuple(part.shape[-2:]) == tuple(first[-2:])
        return _resized(part, self.size) if self.size is not None and image else part

    def inputs(self, inputs: Any, label: Any, names: Sequence[str | int], ignored: int) -> tuple[Any, Any]:
        """Return the inputs of one item and its label in this shape.

        Args:
            inputs: A tensor, a sequence or a mapping of tensors; arrays and lists of numbers become tensors.
            label: Anything; None where there is none.
            names: Of the inputs, the first one first; may be empty where they are not known yet.
            ignored: What labels are filled up with.
        """
        ordered = inputs
        if isinstance(inputs, Mapping):  # before the network was asked for names, all may be inputs
            ordered = [inputs[name] for name in names if name in inputs] or list(inputs.values())
        first = as_tensor(ordered[0] if isinstance(ordered, list | tuple) and len(ordered) else ordered)
        shape = (1, *first.shape) if isinstance(first, Tensor) else ()

        def fitted(value: Any, fill: int) -> Any:
            value = as_tensor(value)
            return self.batch(value[None], shape, fill)[0] if isinstance(value, Tensor) and value.ndim else value

        if isinstance(inputs, Mapping):
            made: Any = {name: fitted(value, FILL) for name, value in inputs.items()}
        elif isinstance(inputs, list | tuple):
            made = tuple(fitted(value, FILL) for value in inputs)
        else:
            made = fitted(inputs, FILL)
        return made, None if label is None else fitted(label, ignored)


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    planes = images.reshape(len(images), -1, *images.shape[-2:])
    if images.is_floating_point():
        found = F.interpolate(planes, size, mode="bilinear", antialias=True)
    else:
        found = F.interpolate(planes.double(), size, mode="nearest-exact").to(images.dtype)
    return found.reshape(*images.shape[:-2], *size)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def as_tensor(value: Any) -> Any:
    """Return lists of numbers and arrays as tensors, anything else as it is."""
    if isinstance(value, list) and value and isinstance(value[0], int | float):
        return torch.tensor(value)
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
