"""What a file answers, run by its target's own runtime, and how large it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, MeasurementError
from ..spaces.target import Target
from .runtimes.base import Arrays, Loaded, Runtime
from .timing.breathing import Slices, in_slices

CHUNK = 1024
"""Inputs that are float numbers in memory at a time, whatever the size of a split."""
CHUNK_BYTES = 2**30
"""The most that they take there, but for one batch."""
SMALLEST = 1e-2
"""An output that counts as the largest where all are smaller: float32 differs by 1e-5 where what was added is large."""
PARITY = 1e-3
"""Largest difference allowed between a file in 32 bits and its network, relative to the largest output."""


class Split(Protocol):
    """A part of a task's data, of which `file_outputs` needs no more than this."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def inputs(self, which: Any) -> Any:
        """Return the inputs at these indices, such as a slice, as tensors [N, ...] of torch on the CPU."""
        ...


def file_outputs(
    path: Path, runtime: Runtime, target: Target, data: Split, slices: Slices = nullcontext
) -> NDArray[Any]:
    """Run a file over a whole split, `CHUNK` inputs in memory at a time and fewer of large ones; see `predict`.

    Returns:
        The file's first output, [len(data), ...].
    """
    first = as_arrays(data.inputs(slice(0, 1)))
    each = sum(part.nbytes for part in (first if isinstance(first, tuple) else (first,)))
    chunk = min(CHUNK, max(1, CHUNK_BYTES // max(1, each * target.batch)) * target.batch)
    parts = (as_arrays(data.inputs(slice(i, i + chunk))) for i in range(0, len(data), chunk))
    return predict(path, runtime, target, parts, slices, len(data))


def predict(
    path: Path,
    runtime: Runtime,
    target: Target,
    inputs: Arrays | Iterable[Arrays],
    slices: Slices = nullcontext,
    count: int | None = None,
) -> NDArray[Any]:
    """Run a file over inputs.

    The batch is the file's own, or the target's where the file leaves it open. The last batch of a chunk is filled by
    repeating its last input.

    Args:
        path: The file.
        runtime: What runs it.
        target: Where it runs.
        inputs: An array [N, ...], a tuple of them for a file of several inputs, or chunks of either, so that a whole
            split need not be in memory.
        slices: Makes what short slices of this work run under, so that latencies are measured in peace.
        count: Number of all inputs, where chunks are given and it is known; outputs are then in memory once.

    Returns:
        The file's first output, [N, ...].

    Raises:
        DataError: There are no inputs, or they are of another shape than the file takes.
        MeasurementError: The file cannot be loaded or run.
        RuntimeUnavailable: The runtime cannot run here.
    """
    loaded = runtime.load(path, target)
    chunks = (inputs,) if isinstance(inputs, np.ndarray | tuple) else inputs
    parts = in_slices((part for chunk in chunks for part in _batches(path, loaded, target, chunk)), slices)
    first = next(parts, None)
    if first is None:
        raise DataError(f"{path}: no images to run it over; the split is empty")
    if count is None:
        return np.concatenate([first, *parts])
    outputs, done = np.empty((count, *first.shape[1:]), first.dtype), 0
    for part in itertools.chain([first], parts):
        outputs[done : done + len(part)] = part
        done += len(part)
    return outputs[:done]


def relative_difference(got: Any, expected: Any) -> float:
    """Return the largest absolute difference of two arrays, relative to the largest of `expected`.

    That counts as `SMALLEST` where it is less. A difference is infinite where a number of either is none, so that no
    bound lets it pass.
    """
    with np.errstate(all="ignore"):
        found = float(np.abs(got - expected).max() / max(SMALLEST, float(np.abs(expected).max())))
    return found if math.isfinite(found) else math.inf


def file_bytes(path: Path) -> int:
    """Return the bytes of a file and of the weights stored next to it, or of a folder.

    Raises:
        MeasurementError: It is missing.
    """
    return sum(part.stat().st_size for part in parts_of(path))


def compressed_bytes(path: Path, level: int = 19) -> int:
    """Return the bytes after Zstandard compression (RFC 8878), where sparsity and few bits show.

    Args:
        path: The file or folder.
        level: Of compression. Level 19 takes about a second for 5 MB, level 3 a hundredth of that.

    Raises:
        MeasurementError: It is missing.
    """
    import zstandard

    return sum(len(zstandard.ZstdCompressor(level=level).compress(part.read_bytes())) for part in parts_of(path))


def _batches(path: Path, loaded: Loaded, target: Target, inputs: Arrays) -> Iterator[NDArray[Any]]:
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    if len(parts) != len(loaded.inputs):
        raise DataError(f"{path}: takes {len(loaded.inputs)} inputs, given are {len(parts)}; prepare them alike")
    for part, takes in zip(parts, loaded.inputs, strict=True):
        fits = len(takes.shape) == part.ndim and all(
            w is None or w == n for w, n in zip(takes.shape[1:], part.shape[1:], strict=True)
        )
        if not fits:
            raise DataError(
                f"{path}: {takes.name} is {list(part.shape)}, the file takes {list(takes.shape)}; prepare it alike"
            )
    batch = loaded.inputs[0].shape[0] or target.batch
    for start in range(0, len(parts[0]), batch):
        missing = max(0, start + batch - len(parts[0]))
        chunks = (_filled(part[start : start + batch], missing) for part in parts)
        arrays = (np.ascontiguousarray(c, dtype=t.dtype) for c, t in zip(chunks, loaded.inputs, strict=True))
        yield loaded.run(*arrays)[: batch - missing]


def _filled(chunk: NDArray[Any], missing: int) -> NDArray[Any]:
    return np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)]) if missing else chunk


def as_arrays(inputs: Any) -> Arrays:
    """Return tensors of torch on the CPU, one or a tuple of them, as arrays."""
    return tuple(part.numpy() for part in inputs) if isinstance(inputs, tuple) else inputs.numpy()


def parts_of(path: Path) -> list[Path]:
    """Return the files that a model is made of: itself and the weights stored next to it, or what is in its folder.

    Raises:
        MeasurementError: It is missing.
    """
    if path.is_dir():  # a package, as Core ML's
        return sorted(part for part in path.rglob("*") if part.is_file())
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; its size cannot be told")
    weights = path.with_name(path.name + ".data")
    return [path, weights] if weights.is_file() else [path]
