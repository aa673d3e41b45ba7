"""Where numbers of a graph are spread too far for 8 bits: masks of minus infinity, and what they are added to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Arrays

BEYOND = 1e6
"""A magnitude that no activation has. One step of 8 bits over it would be larger than anything else in its tensor."""
FEW = 4
"""Calibration inputs that are looked at."""


def nodes_beyond_eight_bits(model: Any, calibration: Arrays) -> set[str]:
    """Return the names of nodes that take or give numbers beyond `BEYOND`, or none at all.

    Only graphs that hold such a number are run: they come from masks, not from weights that were trained.

    Args:
        model: A float graph (onnx.ModelProto).
        calibration: Inputs [M, ...] of the calibration split.

    Raises:
        Exception: The graph does not take the inputs; ONNX Runtime raises errors of many kinds.
    """
    import onnx

    if not _holds_one(model):
        return set()
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    made = [name for node in model.graph.node for name in node.output if name]
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    found = float_session(asked).run(None, calibration_inputs(model, calibration, FEW))
    far = {name for name, value in zip(made, found, strict=True) if _is_far(value)}
    far |= {i.name for i in model.graph.initializer if _is_far(_array(i))}
    return {node.name for node in model.graph.node if far & {*node.input, *node.output}}


def own_batch(model: Any) -> int:
    """Return the batch that a graph has of its own, 0 where it takes any."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def calibration_inputs(model: Any, calibration: Arrays, count: int, start: int = 0) -> dict[str, NDArray[Any]]:
    """Return some calibration inputs by name.

    A graph with a batch of its own takes nothing else: where inputs end, they begin again.

    Args:
        model: The graph (onnx.ModelProto).
        calibration: Inputs [M, ...].
        count: How many, at most, of a graph that takes any batch.
        start: Number of the first one.
    """
    parts = calibration if isinstance(calibration, tuple) else (calibration,)
    own = own_batch(model)
    rows: Any = np.arange(start, start + own) % len(parts[0]) if own else slice(start, start + count)
    return dict(zip((given.name for given in model.graph.input), (part[rows] for part in parts), strict=True))


def float_session(model: Any) -> Any:
    """Return a session (onnxruntime.InferenceSession) that runs a graph as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _holds_one(model: Any) -> bool:
    held = [_array(i) for i in model.graph.initializer]
    held += [_array(a.t) for n in model.graph.node for a in n.attribute if a.HasField("t")]
    return any(map(_is_far, held))


def _array(tensor: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)


def _is_far(value: Any) -> bool:
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.size == 0:
        return False
    return not bool(np.isfinite(array).all()) or float(np.abs(array).max()) > BEYOND
