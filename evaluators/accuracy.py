"""What a file answers, run in the target's own runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..spaces.target import Target
from .runtimes.base import Loaded, Runtime


def predict(
    path: Path, runtime: Runtime, target: Target, images: NDArray[Any] | Iterable[NDArray[Any]]
) -> NDArray[Any]:
    """Run a file over images [N, ...], or chunks of them, and return its first output, [N, K] for a classifier.

    The batch is the file's own, or the target's where the file leaves it open; the last batch of a chunk is filled
    by repeating its last image. Raises DataError (no images, or of another shape than the file takes),
    MeasurementError and RuntimeUnavailable (see `Runtime.load`).
    """
    loaded = runtime.load(path, target)
    chunks = (images,) if isinstance(images, np.ndarray) else images
    outputs = [part for chunk in chunks for part in _batches(path, loaded, target, chunk)]
    if not outputs:
        raise DataError(f"{path}: no images to run it over; the split is empty")
    return np.concatenate(outputs)


def _batches(path: Path, loaded: Loaded, target: Target, images: NDArray[Any]) -> Iterator[NDArray[Any]]:
    wanted = loaded.input_shape
    fits = len(wanted) == images.ndim and all(
        w is None or w == n for w, n in zip(wanted[1:], images.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(f"{path}: images are {list(images.shape)}, the file takes {list(wanted)}; prepare them alike")
    batch = wanted[0] or target.batch
    for start in range(0, len(images), batch):
        chunk = np.ascontiguousarray(images[start : start + batch], dtype=loaded.input_dtype)
        missing = batch - len(chunk)
        if missing:
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
        yield loaded.run(chunk)[: batch - missing]
