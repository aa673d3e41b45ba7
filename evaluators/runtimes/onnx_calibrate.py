"""Ranges of the activations of a float ONNX graph, found while calibration inputs stream through it.

Nothing is kept of a batch but ends and histograms, so that memory does not grow with the number of inputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, one_line
from .base import Arrays, BuildRequest, Ranges
from .calibrating import MINMAX, TRAINED
from .clipping import HISTOGRAM_METHODS, Histogram, clipped
from .onnx_float import CALIBRATION_BATCH, in_batches, left_in_float, name_types
from .onnx_ranges import float_session, nodes_beyond_eight_bits, own_batch

MOST_BYTES = 256e6
"""Of all activations of a batch."""

_SAME_GRID = ("AveragePool", "Flatten", "MaxPool", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators whose output lies on the grid of their input."""
_CUT_OFF = ("Clip", "Relu")
"""Operators that become a part of the range of their output."""


def activation_ranges(request: BuildRequest, methods: Sequence[str]) -> dict[str, Ranges]:
    """Return the ranges of activations by each of some methods; see `CalibratingRuntime.activation_ranges`.

    Raises:
        MeasurementError: The graph cannot be run.
    """
    try:
        calibrator = _Calibrator(request.model, request.calibration)
        ends = calibrator.ends()
        found: dict[str, Ranges] = {}
        asked = [method for method in methods if method in HISTOGRAM_METHODS]
        if asked:
            widths = {node: request.static_bits.get(layer, 32) for node, layer in request.layers.items()}
            histograms = calibrator.histograms(ends, quantized_tensors(request.model, widths, request.calibration))
            for method in asked:
                found[method] = ends | {name: clipped(each, method) for name, each in histograms.items()}
    except Exception as error:  # ONNX Runtime raises errors of many kinds
        raise MeasurementError(f"the ranges of activations cannot be found: {one_line(error)}") from error
    if MINMAX in methods:
        found[MINMAX] = ends
    if TRAINED in methods:
        found[TRAINED] = {**ends, **trained_ranges(request)}
    return found


def trained_ranges(request: BuildRequest) -> Ranges:
    """Return the ranges of tensors that quantization-aware training has learned as those of inputs of layers.

    A tensor that several layers read gets what holds all of theirs.

    Args:
        request: The student; its trained ranges are by layer.
    """
    makers = {name: node for node in request.model.graph.node for name in node.output}
    found: dict[str, tuple[float, float]] = {}
    for node in request.model.graph.node:
        layer = request.layers.get(node.name, "")
        if request.static_bits.get(layer) != 8 or layer not in request.trained:
            continue
        name = node.input[0]
        while name in makers and makers[name].op_type in _SAME_GRID:
            name = makers[name].input[0]
        low, high = request.trained[layer]
        known = found.get(name, (low, high))
        found[name] = (min(low, known[0]), max(high, known[1]))
    return found


def quantized_tensors(model: Any, widths: Mapping[str, int], calibration: Arrays) -> set[str]:
    """Return the tensors that get a grid of their own.

    Args:
        model: The float graph (onnx.ModelProto).
        widths: Node name -> bits, of the layers.
        calibration: Inputs [M, ...] of the calibration split.
    """
    floats = set(left_in_float(model, widths, nodes_beyond_eight_bits(model, calibration)))
    nodes = [node for node in model.graph.node if node.name not in floats]
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    found = {name for node in nodes for name in (*node.input, *node.output)}
    found -= {name for node in nodes if node.op_type in _SAME_GRID for name in node.output}
    return found - {node.input[0] for node in nodes if node.op_type in _CUT_OFF and readers[node.input[0]] == 1}


class _Calibrator:
    """Runs a graph with all its float tensors as outputs."""

    def __init__(self, model: Any, calibration: Arrays) -> None:
        import onnx

        self._model, self._calibration = model, calibration
        asked = onnx.ModelProto()
        asked.CopyFrom(model)
        name_types(asked)
        graph = onnx.shape_inference.infer_shapes(asked).graph
        told = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
        floats = {name for name, kind in told.items() if kind == onnx.TensorProto.FLOAT}
        self._inputs = [given.name for given in model.graph.input if given.name in floats]
        made = [name for node in model.graph.node for name in node.output if name in floats]
        self._names = list(dict.fromkeys(made))
        del asked.graph.output[:]
        asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._names)
        self._session = float_session(asked)
        self._size = self._fitting_batch()

    def ends(self) -> dict[str, tuple[float, float]]:
        """Return the least and the largest value of each float tensor, in the first pass over the inputs."""
        found: dict[str, tuple[float, float]] = {}
        for batch in self._batches(self._names):
            for name, value in batch:
                low, high = _ends(value)
                known = found.get(name, (low, high))
                found[name] = (min(low, known[0]), max(high, known[1]))
        return found

    def histograms(self, ends: Ranges, names: Collection[str]) -> dict[str, Histogram]:
        """Return histograms of some tensors between their ends, in a second pass over the inputs."""
        found = {name: Histogram.over(*ends[name]) for name in (*self._inputs, *self._names) if name in names}
        for batch in self._batches([name for name in self._names if name in found]):
            for name, value in batch:
                if name in found:
                    found[name] = found[name].with_values(value)
        return found

    def _batches(self, names: list[str]) -> Iterator[Iterator[tuple[str, NDArray[Any]]]]:
        for given in in_batches(self._model, self._calibration, self._size):
            values = self._session.run(names, given) if names else []  # no names would mean all
            own = [(name, given[name]) for name in self._inputs]
            yield ((name, value) for name, value in (*own, *zip(names, values, strict=True)) if value.size)

    def _fitting_batch(self) -> int:
        if own_batch(self._model):
            return CALIBRATION_BATCH
        one = next(in_batches(self._model, self._calibration, 1))
        taken = sum(value.nbytes for value in self._session.run(self._names, one))
        return int(min(CALIBRATION_BATCH, max(1, MOST_BYTES // max(1, taken))))


def _ends(value: NDArray[Any]) -> tuple[float, float]:
    low, high = float(value.min()), float(value.max())
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    known = value[np.isfinite(value)]  # what stands beside a mask of minus infinity; such nodes stay in float
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
