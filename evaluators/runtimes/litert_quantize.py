"""LiteRT files with fewer bits: int8 that runs as int8, and float16 weights that only store less."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .litert_convert import Graph, make_interpreter, silently

CALIBRATION_BATCH = 8
"""Inputs that calibration runs at a time where the graph's batch is free."""
NEVER = 3e38
"""No activation is so large; the padding of a maximum is, and means nothing."""


def quantize(content: bytes, layers: Iterable[str], bits: Mapping[str, int], calibration: NDArray[Any]) -> bytes:
    """Return a file with fewer bits; its input and output stay float32.

    8 bits are int8 activations with a zero point and int8 weights per channel. Operators between 8-bit layers go with
    the layer before them, so that no region has borders inside. 16 bits are float16 weights that XNNPACK turns back
    to float32 when the file is loaded.

    Args:
        content: The file, as `litert_convert.convert` makes it.
        layers: Names of all layers.
        bits: Layer name -> 16 or 8.
        calibration: Inputs [M, ...] of the calibration split, for the activation ranges of 8-bit layers.

    Raises:
        LookupError: The graph has no operator of its own for a layer.
    """
    from ai_edge_quantizer import quantizer

    graph = Graph(content)
    widths = operator_bits(graph, layers, bits)
    with silently():
        work = quantizer.Quantizer(content)
        _add_rules(work, graph, bits, widths)
        ranges = _ranges(graph, content, calibration) if 8 in widths.values() else None
        result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    assert result.quantized_model is not None
    return bytes(result.quantized_model)


def operator_bits(graph: Graph, layers: Iterable[str], bits: Mapping[str, int]) -> dict[str, int]:
    """Return the bits of every operator: its own if it is a layer, else those of the latest layer before it.

    Args:
        graph: The graph.
        layers: Names of all layers.
        bits: Layer name -> bits, where that is not 32.

    Returns:
        Name of the operator's output -> bits.

    Raises:
        LookupError: The graph has no operator of its own for a layer.
    """
    known = set(layers)
    names = [graph.tensors[op.outputs[0]].name.decode() for op in graph.operators]
    if lost := [layer for layer in bits if layer not in names]:
        raise LookupError(f"the converter left no operator of its own for layer {lost[0]!r}; plan it in 32 bits")
    found: dict[str, int] = {}
    made: dict[int, tuple[int, int]] = {}  # tensor -> (index of the latest layer behind it, its bits)
    for index, (op, name) in enumerate(zip(graph.operators, names, strict=True)):
        if name in known:
            state = (index, bits.get(name, 32))
        else:
            state = max((made[t] for t in op.inputs if t in made), default=(-1, 32))
        found[name] = state[1]
        made.update(dict.fromkeys(op.outputs, state))
    return found


def _add_rules(work: Any, graph: Graph, bits: Mapping[str, int], widths: Mapping[str, int]) -> None:
    # the quantizer knows operators by the names of their outputs
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName

    every = TFLOperationName.ALL_SUPPORTED
    if eight := [name for name, width in widths.items() if width == 8]:
        work.add_static_config(_exactly(eight), every, activation_num_bits=8, weight_num_bits=8)
    if half := [layer for layer, width in bits.items() if width == 16]:
        work.add_weight_only_config(_exactly(half), every, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        work.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)


def _exactly(names: list[str]) -> str:
    return f"^(?:{'|'.join(map(re.escape, names))});"


def _ranges(graph: Graph, content: bytes, calibration: NDArray[Any]) -> dict[str, dict[str, NDArray[Any]]]:
    # Name of a computed tensor -> the smallest and largest value in it over all inputs. The quantizer's own calibration
    # keeps moving averages of what single inputs reach, which cuts off the largest activations: outputs of a ResNet-20
    # are then off by ten times as much.
    names = {tensor.name.decode() for i, tensor in enumerate(graph.tensors) if graph.is_computed_float(i)}
    interpreter = make_interpreter(content, experimental_preserve_all_tensors=True)
    first = interpreter.get_input_details()[0]
    size = CALIBRATION_BATCH if first["shape_signature"][0] < 0 else int(first["shape"][0])
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for start in range(0, len(calibration), size):
        batch = calibration[start : start + size]
        # a graph with a batch of its own takes nothing else; a value twice in it changes no range
        batch = np.resize(batch, (size, *batch.shape[1:])).astype(first["dtype"], copy=False)  # tokens become int32
        if start == 0:
            interpreter.resize_tensor_input(first["index"], batch.shape)
            interpreter.allocate_tensors()
            computed = [t for t in interpreter.get_tensor_details() if t["name"] in names]
        interpreter.set_tensor(first["index"], batch)
        interpreter.invoke()
        for tensor in computed:
            value = interpreter.get_tensor(tensor["index"])
            real = value[np.abs(value) < NEVER] if np.abs(value).max() >= NEVER else value
            low, high = (np.full((1,) * value.ndim, reach) for reach in (real.min(), real.max()))
            known = found.setdefault(tensor["name"], {"min": low, "max": high})
            known["min"], known["max"] = np.minimum(known["min"], low), np.maximum(known["max"], high)
    return found
