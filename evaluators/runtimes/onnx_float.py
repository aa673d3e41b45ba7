"""What is read from a float graph before it gets fewer bits: who stays in float, and how inputs reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .base import Arrays
from .onnx_ranges import calibration_inputs, float_session, own_batch

CALIBRATION_BATCH = 32
"""Inputs that calibration runs at a time where the graph's batch is free."""
CALIBRATION_BYTES = 2**25
"""The most that they take: what a network makes of large images takes a hundred times as much."""

_FLOAT_OPERATORS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization")
# Norms have no kernels in 8 bits: one would only lose the precision of its weights


def node_bits(model: Any, widths: Mapping[str, int]) -> dict[str, int]:
    """Return the bits of every node: its own if it is a layer, else those of the latest layer before it.

    Args:
        model: The graph (onnx.ModelProto).
        widths: Node name -> bits, of the layers.
    """
    found: dict[str, int] = {}
    made: dict[str, tuple[int, int]] = {}  # tensor -> (index of the latest layer behind it, its bits)
    for index, node in enumerate(model.graph.node):
        if node.name in widths:
            state = (index, widths[node.name])
        else:
            state = max((made[t] for t in node.input if t in made), default=(-1, 32))
        found[node.name] = state[1]
        made.update(dict.fromkeys(node.output, state))
    return found


def left_in_float(model: Any, widths: Mapping[str, int], far: set[str]) -> list[str]:
    """Return the nodes that stay in float.

    Args:
        model: The graph (onnx.ModelProto).
        widths: Node name -> bits, of the layers.
        far: Nodes whose numbers are spread too far; see `onnx_ranges.nodes_beyond_eight_bits`.
    """
    found = node_bits(model, widths)
    return [
        node.name
        for node in model.graph.node
        if found[node.name] != 8 or node.op_type in _FLOAT_OPERATORS or node.name in far
    ]


def name_types(model: Any) -> None:
    """Let a graph say of every tensor whether it is float, in place.

    onnx does not infer the type of what some operators return, a group norm for one, nor of anything behind them. The
    quantizer leaves tensors without a type out, and then misses their scales.
    """
    import onnx
    from onnx import helper

    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name for value in (*inferred.value_info, *inferred.output)}
    unknown = {name for node in model.graph.node for name in node.output} - known - {""}
    if not unknown:
        return
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(unknown))
    for output in float_session(asked).get_outputs():
        if output.name in unknown and output.type == "tensor(float)":
            value = helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, None)
            model.graph.value_info.append(value)


def in_batches(
    model: Any, calibration: Arrays, size: int = CALIBRATION_BATCH
) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Yield calibration inputs by name, batch for batch.

    A graph with a batch of its own takes nothing else: the last one is filled up with the first inputs.

    Args:
        model: The graph (onnx.ModelProto).
        calibration: Inputs [M, ...].
        size: Inputs at a time where the graph takes any batch; fewer where they are large.
    """
    parts = calibration if isinstance(calibration, tuple) else (calibration,)
    each = sum(part[:1].nbytes for part in parts)
    size = max(1, min(size, CALIBRATION_BYTES // max(1, each)))
    for start in range(0, len(parts[0]), own_batch(model) or size):
        yield calibration_inputs(model, calibration, size, start)
