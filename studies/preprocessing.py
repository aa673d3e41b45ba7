"""How a picture or a text becomes an input of the network, as data that is shipped with a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

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


def preprocessing_of(data: object) -> Preprocessing | None:
    """Return what a split does to its pictures; None where they are kept as other numbers than bytes.

    Args:
        data: A split, as a task has it.
    """
    if not isinstance(data, ImageData) or data.images.dtype != torch.uint8 or data.images.ndim != 4:
        return None
    channels, height, width = data.images.shape[1:]
    return Preprocessing((height, width), channels, ONE_BYTE, data.mean, data.std)
