"""Whether files and graphs give each input its own answer, alone and with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeasurementError, one_line
from ..spaces.inputs import Inputs, joined, rows_of, tensors_of
from ..spaces.target import Target
from .runtimes.base import Runtime
from .runtimes.onnx_ranges import float_session
from .score import PARITY, relative_difference

OTHER_BATCH = 3
"""A batch that is tried besides that of the target, where any can be."""


def check_file(path: Path, runtime: Runtime, target: Target, samples: Inputs) -> None:
    """Try a file at the batch that it takes, or at two where it takes any.

    Args:
        path: The file.
        runtime: What runs it.
        target: Where it runs.
        samples: Inputs of the network, [N, ...] each.

    Raises:
        MeasurementError: It takes another batch than the target's, cannot be run, or answers differently to inputs that
            come together.
    """
    loaded = runtime.load(path, target)
    takes = loaded.inputs[0].shape[0]
    if takes not in (None, target.batch):
        raise MeasurementError(f"{path}: takes {takes} inputs at a time, not {target.batch}")

    def run(inputs: Inputs) -> NDArray[Any]:
        given = zip(tensors_of(inputs), loaded.inputs, strict=True)
        return loaded.run(*(np.ascontiguousarray(part.numpy(), dtype=info.dtype) for part, info in given))

    _compare(path.name, run, samples, (takes,) if takes else (1, OTHER_BATCH))


def check_graph(model: Any, samples: Inputs) -> None:
    """Try a float graph at two batches.

    Ranges for 8 bits are found over many inputs at a time, also where a file is built for the target's batch alone.

    Args:
        model: The graph (onnx.ModelProto).
        samples: Inputs of the network, [N, ...] each.

    Raises:
        MeasurementError: It does not run, or answers differently to inputs that come together.
    """
    try:
        session = float_session(model)
        names = [value.name for value in model.graph.input]

        def run(inputs: Inputs) -> NDArray[Any]:
            given = {name: part.numpy() for name, part in zip(names, tensors_of(inputs), strict=True)}
            found: NDArray[Any] = session.run(None, given)[0]
            return found

        _compare("the graph", run, samples, (1, OTHER_BATCH))
    except MeasurementError:
        raise
    except Exception as error:  # ONNX Runtime raises errors of many kinds
        raise MeasurementError(
            f"the graph does not run at batches of 1 and {OTHER_BATCH}: {one_line(error)}"
        ) from error


def _compare(name: str, run: Callable[[Inputs], NDArray[Any]], samples: Inputs, sizes: Sequence[int]) -> None:
    rows = joined([samples] * max(sizes))
    found = [run(rows_of(rows, slice(0, size))) for size in sizes]
    if any(len(outputs) != size for outputs, size in zip(found, sizes, strict=True)):
        raise MeasurementError(f"{name}: does not give as many outputs as it takes inputs")
    few = min(sizes)  # a shape may have the batch of the example in it, and mix the inputs of another
    alone = found[0][:few]
    for outputs in (each[:few] for each in found):
        # whether what is no number is right is asked elsewhere
        if not np.array_equal(outputs, alone, equal_nan=True) and relative_difference(outputs, alone) > PARITY:
            raise MeasurementError(f"{name}: answers differently to inputs that come together")
