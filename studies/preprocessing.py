"""How a picture or a text becomes an input of the network, as data that is shipped with a model."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
            "size": None if self.size is None else tuple(int(side) for side in _each("size", self.size)),
            "channels": None if self.channels is None else int(self.channels),
            "scale": _finite("scale", self.scale),
            "mean": tuple(_finite("mean", value) for value in _each("mean", self.mean)),
            "std": tuple(_finite("std", value) for value in _each("std", self.std)),
            "length": None if self.length is None else int(self.length),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)


def _each(name: str, values: Any) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        raise DataError(f"preprocessing: {name} = {values!r}; allowed: several numbers, such as (0.5, 0.5)") from None


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"preprocessing: {name} holds {str(value)[:60]}; allowed: finite numbers")
    return number


def names_of_classes(labels: Any) -> tuple[str, ...] | None:
    """Return the names of classes as texts, whatever they were given as: numbers, an array.

    Raises:
        DataError: They are none.
    """
    if labels is None:
        return None
    if isinstance(labels, torch.Tensor | np.ndarray):
        labels = labels.tolist()
    if isinstance(labels, str) or not isinstance(labels, Iterable):
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
