"""A few inputs of the validation split and what each model answers to them, kept so that a model can be tried later."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import StorageError, one_line
from ...files import is_trouble, write_bytes
from ...remarks import remark
from ...spaces.target import PerTarget
from .layout import trial_folder

MOST = 8
"""Inputs that are kept at most."""
LIMIT_BYTES = 1_000_000
"""Of inputs and answers together, where more than one input is kept."""
LIMIT_OF_ONE_BYTES = 8_000_000
"""Of one input and its answer. Where these need more, inputs are kept alone; where one input does, none is."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs of the validation split.

    Attributes:
        rows: Their places in the split, [k].
        inputs: Name of an input -> values [k, ...], in the order in which the network takes them.
    """

    rows: NDArray[np.int64]
    inputs: Mapping[str, NDArray[Any]]

    def answered(self, answer_bytes: int) -> bool:
        """Tell whether answers of so many bytes each are kept beside the inputs: a map of pixels may be too large."""
        inputs = sum(part.nbytes for part in self.inputs.values())
        return inputs + answer_bytes * len(self.rows) <= LIMIT_OF_ONE_BYTES


def sample_rows(count: int, input_bytes: int, answer_bytes: int) -> list[int]:
    """Return which examples of a split are kept: a few, spread evenly over it, since splits may be sorted by class.

    Args:
        count: Examples in the split.
        input_bytes: Of one input.
        answer_bytes: Of its answer.
    """
    if input_bytes > LIMIT_OF_ONE_BYTES:
        return []
    together = input_bytes + answer_bytes
    bytes_of_one = input_bytes if together > LIMIT_OF_ONE_BYTES else together
    kept = min(MOST, count, max(1, LIMIT_BYTES // max(1, bytes_of_one)))
    return [i * count // kept for i in range(kept)]


def write_samples(study: Path, samples: Samples) -> None:
    """Keep the samples of a study.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    write_arrays(
        _path(study), {"rows": samples.rows, **{f"input:{name}": part for name, part in samples.inputs.items()}}
    )


def read_samples(study: Path) -> Samples | None:
    """Return the samples of a study; None where it has none.

    Raises:
        StorageError: The file cannot be read.
    """
    kept = read_arrays(_path(study))
    if kept is None:
        return None
    if "rows" not in kept:
        raise StorageError(f"{_path(study)}: holds no samples; restore it from a copy")
    inputs = {name.removeprefix("input:"): part for name, part in kept.items() if name.startswith("input:")}
    return Samples(kept["rows"], inputs)


def known_samples(study: Path) -> Samples | None:
    """Return the samples of a study; None where it has none, or a damaged file: no search ends by what is an aid.

    Raises:
        StorageError: The disk gives an error.
    """
    try:
        return read_samples(study)
    except StorageError as error:
        if is_trouble(error.__cause__):
            raise
        remark(f"{_path(study)}: damaged; a search does without what was in it")
        return None


def write_answers(study: Path, number: int, outputs: PerTarget[NDArray[Any]]) -> None:
    """Keep what the files of a trial answer to a study's samples, where it has samples and answers are small enough.

    Args:
        study: The study's folder.
        number: Of the trial.
        outputs: Of each file over the whole validation split, [N, ...].

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    samples = known_samples(study)
    if samples is None:
        return
    kept = {name: all_of[samples.rows] for name, all_of in outputs.items() if samples.answered(all_of[:1].nbytes)}
    if kept:
        write_arrays(_answers_path(study, number), kept)


def read_answers(study: Path, number: int) -> PerTarget[NDArray[Any]]:
    """Return what the files of a trial answered to the samples when they were measured, by target.

    Raises:
        StorageError: The file cannot be read.
    """
    return read_arrays(_answers_path(study, number)) or {}


def read_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of an .npz file, which is read without unpickling; None where there is no file.

    Raises:
        StorageError: It cannot be read.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except Exception as error:  # zip, zlib, numpy and the system each have errors of their own
        raise StorageError(f"{path}: cannot be read ({one_line(error)}); restore it from a copy") from error


def _path(study: Path) -> Path:
    return study / "samples.npz"


def _answers_path(study: Path, number: int) -> Path:
    return trial_folder(study, number) / "answers.npz"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an .npz file, whole or not at all.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)  # type: ignore[arg-type]
    write_bytes(path, held.getvalue())
