"""Which inputs files are timed on: real ones, kept in a file, wherever random numbers could be none that there are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import write_bytes

FILE = "inputs.npz"
_OF_IMAGES = 4  # dimensions of [N, C, H, W]


def keep_inputs(parts: Sequence[NDArray[Any]], folder: Path) -> Path | None:
    """Keep real inputs in a folder, where files are to be timed on them.

    Random numbers are as good as images. Whole numbers stand for rows of tables, and masks for what is left out; so may
    floating numbers in any other form, as categories in a table's columns do, or the lengths of sequences.

    Args:
        parts: The inputs, [N, ...] each, in the order in which a network takes them.
        folder: Where the file is to lie.

    Returns:
        The file; None where random numbers do, or there are no inputs.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if all(np.issubdtype(part.dtype, np.floating) and part.ndim == _OF_IMAGES for part in parts):
        return None
    held = io.BytesIO()
    np.savez(held, *parts)
    path = folder / FILE
    write_bytes(path, held.getvalue())
    return path
