"""Encoded images into one array, on several threads."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...cores import usable_cores
from ...errors import DataError, one_line
from ...memory import available_bytes

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Encoded = bytes | Path

THREADS_PAY_FROM = 30_000
"""Bytes of a decoded image (100 x 100 in colour) above which several threads decode faster than one."""


def decode_images(encoded: Sequence[Encoded], where: Callable[[int], str], image_size: int | None = None) -> Tensor:
    """Decode all images into one array.

    Args:
        encoded: The images' bytes or files.
        where: Names an image by its number, for messages.
        image_size: Pixels; images are scaled and their middle is cut to this square. If None, all must have one size.

    Returns:
        The images [N, C, H, W], uint8. C is 1 when the first one is grey, else 3. As torchvision reads them,
        transparency is left out, and a camera's remark on how it was held is not followed.

    Raises:
        DataError: An image cannot be used; the message names the first one.
    """
    import numpy as np

    first = _decode(encoded[0], where(0), image_size, None)
    check_memory(len(encoded) * first.nbytes, f"{len(encoded)} images of {_size(first)} pixels")
    height, width, count = first.shape
    images = np.empty((len(encoded), count, height, width), dtype=np.uint8)

    def fill(rows: range) -> None:
        for row in rows:
            image = _decode(encoded[row], where(row), image_size, first.shape[2])
            if image.shape != first.shape:
                raise DataError(
                    f"{where(row)}: {_size(image)} pixels, but {where(0)} has {_size(first)}: "
                    "make all images one size, or set image_size"
                )
            images[row] = image.transpose(2, 0, 1)

    # Decoders release the interpreter's lock, but an image of a few kilobytes is over before that pays.
    threads = min(8, usable_cores()) if first.size > THREADS_PAY_FROM else 1
    chunks = [range(start, min(start + 64, len(encoded))) for start in range(0, len(encoded), 64)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for _ in pool.map(fill, chunks):
            pass
    return torch.from_numpy(images)


def _in_8_bits(image: Image) -> Image:
    """Return a grey image of 16 bits in 8, scaled; Pillow's own conversion makes white of all but the darkest."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values from {values.min()} to {values.max()}, allowed: 0 to 65535")
    return Image.fromarray((values // 256).astype(np.uint8))


def _check_floats(image: Image) -> None:
    """Refuse floating grey values that are not from 0 to 255, which Pillow's conversion makes black or white."""
    import numpy as np

    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # nor where one is no number
        raise ValueError(f"grey values from {low:g} to {high:g}, allowed: 0 to 255")
    if 0 < high <= 1:
        raise ValueError(f"grey values from {low:g} to {high:g} would all become black; scale them to 0 to 255")


def check_memory(size_bytes: int, what: str) -> None:
    """Refuse what would not fit into memory beside all else; taking it would end this process without a word.

    Raises:
        DataError: It would not.
    """
    free = available_bytes()
    if size_bytes > free:
        raise DataError(
            f"{what} need {size_bytes / 2**30:.1f} GiB in memory, {free / 2**30:.1f} GiB are free: give fewer, or a "
            "smaller image_size"
        )


def _decode(
    encoded: Encoded, where: str, image_size: int | None, channels: int | None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    import numpy as np
    from PIL import Image, ImageOps

    if encoded == b"":
        raise DataError(f"{where}: not a readable image (it is empty): remove or replace it")
    try:
        file = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
        with Image.open(file, formats=_formats(encoded)) as opened:
            shown = _in_8_bits(opened) if opened.mode.startswith("I") else opened
            if shown.mode == "F":
                _check_floats(shown)
            grey = shown.mode in ("1", "L")
            image: Image.Image = shown.convert("L" if grey and channels != 3 else "RGB")
    except Exception as error:  # a damaged image can fail in any way its decoder knows
        raise DataError(f"{where}: not a readable image ({one_line(error)}): remove or replace it") from error
    if channels == 1 and not grey:
        raise DataError(f"{where}: a colour image among grey ones: make all images grey, or all colour")
    if image_size is not None:
        image = ImageOps.fit(image, (image_size, image_size))
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _formats(encoded: Encoded) -> tuple[str, ...] | None:
    # Told what it is, the library does not try dozens of formats: a third less time for a small JPEG.
    if isinstance(encoded, bytes) and encoded.startswith(b"\xff\xd8\xff"):
        return ("JPEG",)
    return None


def _size(image: np.ndarray[Any, Any]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
