"""Where the weights in an exported graph come from: each is held against the parameters that it was exported with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = tuple[str, int]
"""A parameter, and one of its rows, or one of its numbers where it is a vector."""
_GATES_IN_ORDER = ("Concat", "Slice", "Unsqueeze")
"""Operators that put the gates of large recurrent layers in order while a file is loaded."""


def trace_back(model: Any, values: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str, bool]]:
    """Return initializer -> (parameter that it holds, whether transposed).

    Args:
        model: The graph (onnx.ModelProto).
        values: Parameters by name.
    """
    from onnx import numpy_helper

    found: dict[str, tuple[str, bool]] = {}
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name in values and values[initializer.name].shape == array.shape:
            found[initializer.name] = (initializer.name, False)
            continue
        if array.dtype != np.float32 or array.size < 2:
            continue
        # a vector may lie in any of several dimensions
        flat = array.ravel() if array.size == max(array.shape) else array
        for name, value in values.items():
            if value.shape in (array.shape, flat.shape) and np.array_equal(value.ravel(), array.ravel()):
                found[initializer.name] = (name, False)
            elif value.ndim == 2 and value.T.shape == array.shape and np.array_equal(value.T, array):
                found[initializer.name] = (name, True)
    return found


def rows_of(model: Any, values: Mapping[str, NDArray[Any]], traced: Mapping[str, Any]) -> dict[str, tuple[Row, ...]]:
    """Return initializer -> the rows that it is put together of: the gates of a GRU are stored in another order.

    Args:
        model: The graph (onnx.ModelProto).
        values: Parameters by name.
        traced: Initializers that need not be looked at.
    """
    from onnx import numpy_helper

    known: dict[bytes, Row] = {}
    for name, value in values.items():
        if value.ndim in (1, 2) and value.dtype == np.float32:
            known.update({row.tobytes(): (name, index) for index, row in enumerate(value)})
    found = {}
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name in traced or array.dtype != np.float32 or array.size < 2:
            continue
        for rows in (array.reshape(-1, array.shape[-1]), array.reshape(-1)):
            if all(row.tobytes() in known for row in rows):
                found[initializer.name] = tuple(known[row.tobytes()] for row in rows)
                break
    return found


def recurrent_layers(
    model: Any, sources: Mapping[str, tuple[str, bool]], rows: Mapping[str, tuple[Row, ...]]
) -> dict[str, str]:
    """Return node -> the recurrent layer that it runs, by the parameters that its weights are made of.

    Args:
        model: The graph (onnx.ModelProto).
        sources: As `trace_back` returns them.
        rows: As `rows_of` returns them.
    """
    makers = {output: node for node in model.graph.node for output in node.output}

    def owner(name: str) -> str:
        parameter = rows[name][0][0] if name in rows else sources.get(name, ("", False))[0]
        maker = makers.get(name)
        if parameter or maker is None or maker.op_type not in _GATES_IN_ORDER:
            return parameter.rpartition(".")[0]
        return next((found for given in maker.input if (found := owner(given))), "")

    run = [node for node in model.graph.node if node.op_type in ("LSTM", "GRU")]
    return {node.name: layer for node in run if (layer := owner(node.input[1]))}


def written(old: Any, value: NDArray[Any], transposed: bool) -> Any:
    """Return an initializer (onnx.TensorProto) with a parameter of another student."""
    from onnx import numpy_helper

    if value.ndim == 1 and len(old.dims) > 1:
        value = value.reshape([-1 if size > 1 else 1 for size in old.dims])
    return numpy_helper.from_array(np.ascontiguousarray(value.T if transposed else value), old.name)


def put_together(old: Any, rows: tuple[Row, ...], values: Mapping[str, NDArray[Any]]) -> Any:
    """Return an initializer (onnx.TensorProto) with the same rows of another student's parameters."""
    from onnx import numpy_helper

    array = np.array([values[name][index] for name, index in rows])
    return numpy_helper.from_array(array.reshape(*old.dims[:-1], -1), old.name)
