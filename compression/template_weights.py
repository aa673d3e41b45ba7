"""Weights of templates: they hold none, as each student brings its own. A search keeps several templates at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


def without_weights(model: Any, names: Collection[str]) -> Any:
    """Return a graph whose initializers of these names have a type and a shape alone.

    Args:
        model: The graph (onnx.ModelProto). It loses these weights too.
        names: Of initializers that are written for each student.
    """
    import onnx

    for initializer in model.graph.initializer:
        if initializer.name in names and initializer.data_type == onnx.TensorProto.FLOAT:
            initializer.ClearField("raw_data")
    # a message frees what it held with itself alone
    light = onnx.ModelProto()
    light.CopyFrom(model)
    return light


def to_be_written(name: str, shape: Sequence[int]) -> Any:
    """Return an initializer (onnx.TensorProto) of float numbers that are still to come."""
    import onnx

    return onnx.TensorProto(name=name, dims=shape, data_type=onnx.TensorProto.FLOAT)


def has_numbers(initializer: Any) -> bool:
    """Tell whether an initializer (onnx.TensorProto) of float numbers holds them."""
    return bool(initializer.raw_data or initializer.float_data)
