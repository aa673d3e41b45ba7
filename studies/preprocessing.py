"""How a picture or a text becomes an input of the network, as data that is shipped with a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from .data.images import ImageData

ONE_BYTE = 1 / 255


@dataclass(frozen=True)
class Preprocessing:
    """How a picture or a text becomes an input. What is not known is left at its default.

    Attributes:
        size: Height and width of a picture in pixels. Others are scaled, and their middle is cut to it.
        channels: 1 for grey pictures, 3 for red, green and blue; None where inputs are no pictures.
        scale: What values from 0 to 255 are multiplied by first.
        mean: One number for each channel, subtracted then. Empty means not at all.
        std: One number for each channel, divided by afterwards. Empty means not at all.
        layout: Order of the dimensions of a batch of pictures: "NCHW" or "NHWC".
        tokenizer: What turns a text into whole numbers: "bytes" (UTF-8, each byte its own number), the path of a
            tokenizer.json, which is shipped along, or a name on the Hugging Face Hub. Empty where inputs are no texts.
        length: Of a text in tokens; shorter ones are filled up with zeros, longer ones cut.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    scale: float = ONE_BYTE
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = "NCHW"
    tokenizer: str = ""
    length: int | None = None

    def __post_init__(self) -> None:
        """Make plain numbers of those of NumPy and torch: these are kept and shipped as JSON.

        Raises:
            DataError: Something is no number.
        """
        made = {
            "size": None if self.size is None else _height_and_width(self.size),
            "channels": None if self.channels is None else _whole("channels", self.channels),
            "scale": _finite("scale", self.scale),
            "mean": tuple(_finite("mean", value) for value in _each("mean", self.mean)),
            "std": tuple(_finite("std", value) for value in _each("std", self.std)),
            "length": None if self.length is None else _whole("length", self.length),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)


def _each(name: str, values: Any) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        raise DataError(f"preprocessing: {name} = {values!r}; allowed: several numbers, such as (0.5, 0.5)") from None


def _height_and_width(size: Any) -> tuple[int, ...]:
    sides = tuple(_whole("size", side) for side in _each("size", size))
    if isinstance(size, str) or len(sides) != 2:
        raise DataError(f"preprocessing: size = {size!r}; allowed: height and width, such as (224, 224)")
    return sides


def _whole(name: str, value: Any) -> int:
    number = _finite(name, value)
    if number != int(number) or number < 1:
        raise DataError(f"preprocessing: {name} holds {number:g}; allowed: whole numbers from 1")
    return int(number)


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # torch's own for a tensor of several numbers
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"preprocessing: {name} holds {str(value)[:60]}; allowed: finite numbers")
    return number


def names_of_classes(labels: Any) -> tuple[str, ...] | None:
    """Return the names of classes as texts, whatever they were given as: numbers, an array, a mapping from 0, 1, ...

    Raises:
        DataError: They are none.
    """
    if labels is None:
        return None
    if isinstance(labels, torch.Tensor | np.ndarray):
        labels = labels.tolist()
    if isinstance(labels, Mapping) and sorted(map(str, labels)) == sorted(map(str, range(len(labels)))):
        by_number = {str(number): name for number, name in labels.items()}
        labels = [by_number[str(number)] for number in range(len(labels))]
    if isinstance(labels, str | Mapping | Set) or not isinstance(labels, Iterable):
        raise DataError(f"labels = {str(labels)[:60]!r}; allowed: a name for each class, in their order")
    return tuple(str(label) for label in labels)


def preprocessing_of(data: object) -> Preprocessing | None:
    """Return what a split does to its pictures; None where they are kept as other numbers than bytes.

    Args:
        data: A split, as a task has it.
    """
    if not isinstance(data, ImageData) or data.images.dtype != torch.uint8 or data.images.ndim != 4:
        return None
    channels, height, width = data.images.shape[1:]
    return Preprocessing((height, width), channels, ONE_BYTE, data.mean, data.std)
