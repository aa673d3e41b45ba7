"""How an 8-bit file is calibrated: by one method, or by the one whose file answers most like its student.

What files answer is judged on calibration inputs that no range was found from; validation data are never seen here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..compression.losses import CLASSIFICATION, Divergence
from ..errors import MeasurementError
from ..files import remove
from ..spaces.target import Target
from .runtimes.base import Arrays, BuildRequest, Ranges, Runtime
from .runtimes.calibrating import MINMAX, TRAINED, TRIED, CalibratingRuntime
from .score import predict

AUTO = "auto"
JUDGED = 4
"""One in so many calibration inputs judges the files; the others give the ranges."""
FEWEST = 8
"""Inputs that judge, at least: fewer say nothing, and then ranges are from the least to the largest value."""


@dataclass(frozen=True)
class Activations:
    """How the ranges of 8-bit activations are found.

    Attributes:
        method: One of `calibrating.METHODS`, or "auto" for the best of `TRIED`.
        divergence: How far a file's outputs are from its student's; the task's.
    """

    method: str = MINMAX
    divergence: Divergence = CLASSIFICATION.soft


MINMAX_ALWAYS = Activations()


@dataclass(frozen=True)
class Calibrated:
    """A student with the ranges that its file is to have.

    Attributes:
        request: Without ranges where the runtime's own, from the least to the largest value, are to be taken.
        method: That they are of; empty where nothing has 8 bits.
        loss: How far its file is from the student, on calibration inputs that gave no range; None where that was not
            judged.
    """

    request: BuildRequest
    method: str = ""
    loss: float | None = None


def calibrated(
    activations: Activations, request: BuildRequest, runtime: Runtime, target: Target, plain: Path | None
) -> Calibrated:
    """Find the ranges that a student's file is to have.

    Args:
        activations: How ranges are found.
        request: The student with its bits.
        runtime: What builds its file.
        target: Where it runs.
        plain: The student's file in 32 bits; None where files cannot be run here.

    Raises:
        MeasurementError: A file cannot be built or run.
    """
    if 8 not in request.static_bits.values():
        return Calibrated(request)
    choosing = isinstance(runtime, CalibratingRuntime)
    method, loss = activations.method, None
    if method == AUTO:
        methods = [m for m in TRIED if m == MINMAX or (choosing and (m != TRAINED or request.trained))]
        losses = judged(activations, request, runtime, target, plain, methods) if plain is not None else {}
        method = min(losses, key=losses.__getitem__, default=MINMAX)  # the first of equals, which is the plainest
        loss = losses.get(method)
    if method == MINMAX or (method == TRAINED and not request.trained) or not isinstance(runtime, CalibratingRuntime):
        return Calibrated(request, MINMAX, loss)
    ranges = runtime.activation_ranges(request, [method])[method]
    return Calibrated(replace(request, ranges=ranges), method, loss)


def judged(
    activations: Activations,
    request: BuildRequest,
    runtime: Runtime,
    target: Target,
    plain: Path,
    methods: Sequence[str],
) -> Mapping[str, float]:
    """Return how far the file of each method is from its student, on calibration inputs that gave no range.

    Args:
        activations: Has the divergence.
        request: The student with its bits.
        runtime: What builds and runs its files.
        target: Where they run.
        plain: The student's file in 32 bits.
        methods: Of `calibrating.METHODS`; "minmax" alone for a runtime that has no choice of ranges.

    Returns:
        Method -> mean divergence, infinite where it is no number; nothing where there are too few inputs.

    Raises:
        MeasurementError: A file cannot be built or run.
    """
    count = _count(request.calibration)
    first = inputs_for_ranges(count)
    own = request.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    if count - first < FEWEST or first < own:
        return {}
    learned = replace(request, calibration=_rows(request.calibration, slice(0, first)))
    others = _rows(request.calibration, slice(first, None))
    ranges: Mapping[str, Ranges] = {}
    if isinstance(runtime, CalibratingRuntime):
        ranges = runtime.activation_ranges(learned, methods)
    expected = _outputs(plain, runtime, target, others)
    found: dict[str, float] = {}
    part = plain.with_name(f"{plain.stem}-judged{runtime.suffix}")
    try:
        for method in methods:
            try:
                runtime.build(replace(learned, ranges=ranges.get(method, {})), part)
                got = _outputs(part, runtime, target, others)
            except MeasurementError:
                if method == MINMAX:
                    raise  # what is built without any choice
                continue
            loss = float(activations.divergence(got, expected, 1.0).mean())
            found[method] = loss if math.isfinite(loss) else math.inf
    finally:
        remove(part)
    return found


def inputs_for_ranges(count: int) -> int:
    """Return how many of so many calibration inputs give ranges; the others judge them."""
    return count - count // JUDGED


def _outputs(path: Path, runtime: Runtime, target: Target, inputs: Arrays) -> torch.Tensor:
    found: NDArray[Any] = predict(path, runtime, target, inputs)
    return torch.from_numpy(found).float()


def _count(inputs: Arrays) -> int:
    return len(inputs[0] if isinstance(inputs, tuple) else inputs)


def _rows(inputs: Arrays, which: slice) -> Arrays:
    return tuple(part[which] for part in inputs) if isinstance(inputs, tuple) else inputs[which]
