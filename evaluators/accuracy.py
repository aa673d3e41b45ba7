"""What a file answers, run in the target's own runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..spaces.target import Target
from .runtimes.base import Runtime


def predict(path: Path, runtime: Runtime, target: Target, images: NDArray[Any]) -> NDArray[Any]:
    """Run a file over images [N, ...] and return its first output, [N, K] for a classifier.

    The batch is the file's own, or the target's where the file leaves it open; the last batch is filled by
    repeating its last image. Raises DataError (no images, or of another shape than the file takes),
    MeasurementError and RuntimeUnavailable (see `Runtime.load`).
    """
    loaded = runtime.load(path, target)
    wanted = loaded.input_shape
    if len(images) == 0:
        raise DataError(f"{path}: no images to run it over; the split is empty")
    fits = len(wanted) == images.ndim and all(
        w is None or w == n for w, n in zip(wanted[1:], images.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(f"{path}: images are {list(images.shape)}, the file takes {list(wanted)}; prepare them alike")
    batch = wanted[0] or target.batch
    outputs = []
    for start in range(0, len(images), batch):
        chunk = np.ascontiguousarray(images[start : start + batch], dtype=loaded.input_dtype)
        missing = batch - len(chunk)
        if missing:
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
        outputs.append(loaded.run(chunk)[: batch - missing])
    return np.concatenate(outputs)
