"""Examples that differ in length, or images that differ in height and width, are brought to one shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DataError

FILL = 0
"""What inputs that are too short are filled up with."""


Item = tuple[Sequence[Tensor], Tensor | None]
"""Inputs [B, ...] each, and labels [B, ...], None where the inputs are their own."""
Extent = Callable[[Sequence[int]], Any]
"""How large a part of a batch is in what is brought to one shape, of its own shape [B, ...]; None where it has no such
thing."""


@dataclass(frozen=True)
class OneShape:
    """The shape that the examples of a task are brought to, where they differ in it.

    Attributes:
        length: The second dimension of sequences: shorter ones are filled up, longer ones are cut. None leaves it.
        size: Height and width of images [..., H, W] in pixels. Floating numbers are resized bilinearly, with
            antialiasing; whole numbers, such as maps of classes, take the nearest pixel. None leaves them.
        long: Of each input in order, whether it is brought to `length`. None where several items were not looked at
            (see `told_from`): in each item, those are that are as long as its first.
        wide: The same for `size`.
        labels: Whether labels have a number for each position of such an input, and so its shape. None where only
            their own shape tells.
        fills: Whether labels that are too short may be filled up. Those of a task that counts every number may not.
    """

    length: int | None = None
    size: tuple[int, int] | None = None
    long: tuple[bool, ...] | None = None
    wide: tuple[bool, ...] | None = None
    labels: bool | None = None
    fills: bool = True

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

    def told_from(self, items: Sequence[Item]) -> OneShape:
        """Return the same shape for the inputs that differ in it.

        One item does not tell: 20 features beside 20 tokens are no sequence. Where none differs, it is for the first
        that could, and for those which are as large.

        Args:
            items: Several, in batches of one or more.
        """
        both = self.length is not None and self.size is not None  # then images are [C, H, W], and sequences the rest
        parts = list(zip(*(inputs for inputs, _ in items), strict=True))
        lengths = [[None if both and x.ndim > 3 else _length(x.shape) for x in same] for same in parts]
        extents = [[None if both and x.ndim < 4 else _extent(x.shape) for x in same] for same in parts]
        told = replace(self, long=_those_that_differ(lengths), wide=_those_that_differ(extents))
        return told if self.labels is not None else replace(told, labels=told._followed(items))

    def _followed(self, items: Sequence[Item]) -> bool:
        """Tell whether labels are as large as an input in all of these items: in one of them it may be by chance."""
        if any(label is None for _, label in items):
            return True  # tokens that are their own labels
        asked = ((self.length, self.long, _length), (self.size, self.wide, _extent))
        return any(
            all(extent(_shape(label)) in _sizes(inputs, chosen, extent) for inputs, label in items)
            for given, chosen, extent in asked
            if given is not None
        )

    def batch(self, inputs: Sequence[Any], label: Any, ignored: int) -> tuple[tuple[Any, ...], Any]:
        """Return the inputs and the labels of a batch in this shape; what is no tensor stays as it is.

        Args:
            inputs: [B, ...] each, in order.
            label: [B, ...], or None.
            ignored: What labels are filled up with.
        """
        lengths, extents = _sizes(inputs, self.long, _length), _sizes(inputs, self.wide, _extent)

        def chosen(at: int, part: Any, which: tuple[bool, ...] | None, extent: Extent, sizes: set[Any]) -> bool:
            size = extent(_shape(part))
            return size is not None and (size in sizes if which is None else at < len(which) and which[at])

        made = tuple(
            self._fitted(
                part, FILL, chosen(i, part, self.long, _length, lengths), chosen(i, part, self.wide, _extent, extents)
            )
            for i, part in enumerate(inputs)
        )
        if self.labels is False:
            return made, label
        wide = self.size is not None and _extent(_shape(label)) in extents
        long = not wide and _length(_shape(label)) in lengths
        if long and not self.fills and self.length is not None and label.shape[1] < self.length:
            raise DataError(
                f"labels have a number for each of {label.shape[1]} positions, and what would fill them up to length = "
                f"{self.length} would count: bring them to one length, or give a loss and a metric of your own that "
                f"leave {ignored} out"
            )
        return made, self._fitted(label, ignored, long, wide, maps=True)

    def _fitted(self, part: Any, fill: int, long: bool, wide: bool, maps: bool = False) -> Any:
        if self.length is not None and long:
            missing = self.length - part.shape[1]
            part = part[:, : self.length]
            if missing > 0:
                part = F.pad(part, (0, 0) * (part.ndim - 2) + (0, missing), value=fill)
        return _resized(part, self.size, maps) if self.size is not None and wide else part

    def inputs(self, inputs: Any, label: Any, names: Sequence[str | int], ignored: int) -> tuple[Any, Any]:
        """Return the inputs of one item and its label in this shape.

        Args:
            inputs: A tensor, a sequence or a mapping of tensors; arrays and lists of numbers become tensors. What a
                mapping holds besides inputs is left out.
            label: Anything; None where there is none.
            names: Of the inputs, the first one first; may be empty where they are not known yet.
            ignored: What labels are filled up with.
        """
        several = isinstance(inputs, list | tuple)
        parts: list[Any] = list(inputs) if several else [inputs]
        keys: list[Any] = []
        if isinstance(inputs, Mapping):  # before the network was asked for names, all may be inputs
            keys = [name for name in names if name in inputs] or list(inputs)
            parts = [inputs[key] for key in keys]
        made, found = self.batch([_as_batch(part) for part in parts], _as_batch(label), ignored)
        made, found = tuple(map(_as_item, made)), _as_item(found)
        if isinstance(inputs, Mapping):
            return dict(zip(keys, made, strict=True)), found
        return made if several else made[0], found


def _length(shape: Sequence[int]) -> int | None:
    return shape[1] if len(shape) > 1 else None


def _extent(shape: Sequence[int]) -> tuple[int, ...] | None:
    return tuple(shape[-2:]) if len(shape) > 2 else None


def _shape(part: Any) -> Sequence[int]:
    return part.shape if isinstance(part, Tensor) else ()


def _sizes(inputs: Sequence[Any], chosen: tuple[bool, ...] | None, extent: Extent) -> set[Any]:
    """Return how large the chosen inputs are, or the first where that was not told."""
    sizes = [extent(_shape(part)) for part in inputs]
    found = sizes[:1] if chosen is None else [size for size, own in zip(sizes, chosen, strict=False) if own]
    return set(found) - {None}


def _those_that_differ(sizes: Sequence[Sequence[Any]]) -> tuple[bool, ...]:
    """Return for each input, of its sizes in several items, whether it differs; see `OneShape.told_from`."""
    differ = tuple(len(set(own)) > 1 for own in sizes)
    first = next((own[0] for own in sizes if own[0] is not None), None)
    return differ if any(differ) else tuple(first is not None and own[0] == first for own in sizes)


def _as_batch(value: Any) -> Any:
    value = as_tensor(value)
    return value[None] if isinstance(value, Tensor) else value


def _as_item(value: Any) -> Any:
    return value[0] if isinstance(value, Tensor) else value


def _resized(images: Tensor, size: tuple[int, int], maps: bool) -> Tensor:
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    planes = images.reshape(len(images), -1, *images.shape[-2:])
    yes_or_no = maps and bool(((images == 0) | (images == 1)).all())  # a mask has no values between
    if images.is_floating_point() and not yes_or_no:
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
