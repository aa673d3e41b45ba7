"""Where the weights in an exported graph come from: each is held against the parameters that it was exported with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = tuple[str, int]
"""A parameter, and one of its rows, or one of its numbers where it is a vector."""
MOST_ALIKE = 8
"""Rows that are told apart where they are alike; more are no random numbers."""
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
            if value.shape in (array.shape, flat.shape) and _same(value.ravel(), array.ravel()):
                found[initializer.name] = (name, False)
            elif value.ndim == 2 and value.T.shape == array.shape and _same(value.T, array):
                found[initializer.name] = (name, True)
    return found


def _same(value: NDArray[Any], array: NDArray[Any]) -> bool:
    """Tell whether an array holds a parameter's numbers, in whatever format."""
    return np.array_equal(value.astype(array.dtype, copy=False), array)


def rows_of(
    model: Any, values: Mapping[str, NDArray[Any]], traced: Mapping[str, Any], exact: bool = False
) -> dict[str, tuple[Row, ...]]:
    """Return initializer -> the rows that it is put together of: the gates of a GRU are stored in another order.

    Single numbers of several parameters may be alike. They are told apart by the module that holds all numbers of an
    initializer, and by their neighbours; an initializer that leaves a doubt is not returned.

    Args:
        model: The graph (onnx.ModelProto).
        values: Parameters by name.
        traced: Initializers that need not be looked at.
        exact: Whether the numbers stay what they are, so that any row of the same numbers is right.
    """
    from onnx import numpy_helper

    known: dict[bytes, list[Row]] = {}
    for name, value in values.items():
        if value.ndim in (1, 2) and value.dtype == np.float32:
            for index, row in enumerate(value):
                known.setdefault(row.tobytes(), []).append((name, index))
    found = {}
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if initializer.name in traced or array.dtype != np.float32 or array.size < 2:
            continue
        for rows in (array.reshape(-1, array.shape[-1]), array.reshape(-1)):
            held = [row.tobytes() for row in rows]
            if all(row in known for row in held):
                if told := _told_apart(held, known, exact):
                    found[initializer.name] = told
                break
    return found


def _told_apart(held: Sequence[bytes], known: Mapping[bytes, Sequence[Row]], exact: bool) -> tuple[Row, ...] | None:
    """Return the origin of each row, None where there is a doubt."""
    origins: dict[bytes, Sequence[Row]] = {row: known[row] for row in held}
    holders = set.intersection(*({_owner(name) for name, _ in rows} for rows in origins.values()))
    if holders:
        origins = {row: [each for each in rows if _owner(each[0]) in holders] for row, rows in origins.items()}
    if exact:
        return tuple(origins[row][0] for row in held)
    if any(len(rows) > MOST_ALIKE for rows in origins.values()):
        return None
    found: list[Row | None] = [origins[row][0] if len(origins[row]) == 1 else None for row in held]
    places = [place for place, row in enumerate(found) if row is None]
    for at in (*places, *reversed(places)):  # each that is known may tell the next one, on either side
        name_before, before = (found[at - 1] if at else None) or ("", -1)
        name_behind, behind = (found[at + 1] if at + 1 < len(found) else None) or ("", -1)
        beside = {(name_before, before + 1), (name_behind, behind - 1)}.intersection(origins[held[at]])
        if found[at] is None and len(beside) == 1:
            found[at] = beside.pop()
    told = tuple(row for row in found if row is not None)
    return told if len(told) == len(found) else None


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


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
            return _owner(parameter)
        return next((found for given in maker.input if (found := owner(given))), "")

    run = [node for node in model.graph.node if node.op_type in ("LSTM", "GRU")]
    return {node.name: layer for node in run if (layer := owner(node.input[1]))}


def written(old: Any, value: NDArray[Any], transposed: bool) -> Any:
    """Return an initializer (onnx.TensorProto) with a parameter of another student, in the format that it had."""
    from onnx import helper, numpy_helper

    value = value.astype(helper.tensor_dtype_to_np_dtype(old.data_type), copy=False)
    if value.ndim == 1 and len(old.dims) > 1:
        value = value.reshape([-1 if size > 1 else 1 for size in old.dims])
    return numpy_helper.from_array(np.ascontiguousarray(value.T if transposed else value), old.name)


def put_together(old: Any, rows: tuple[Row, ...], values: Mapping[str, NDArray[Any]]) -> Any:
    """Return an initializer (onnx.TensorProto) with the same rows of another student's parameters."""
    from onnx import numpy_helper

    array = np.array([values[name][index] for name, index in rows])
    return numpy_helper.from_array(array.reshape(*old.dims[:-1], -1), old.name)
