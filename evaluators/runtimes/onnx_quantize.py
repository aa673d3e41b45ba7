"""Files with fewer bits: int8 that runs as int8 on ONNX Runtime, and 16- or 4-bit weights that only store less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...quieting import quietly
from ...spaces.target import INT8_TOP
from ...temporary import temporary_folder
from .base import Arrays, Ranges
from .onnx_float import in_batches, left_in_float, name_types
from .onnx_int4 import int4_tensor
from .onnx_ranges import calibration_inputs, float_session, nodes_beyond_eight_bits
from .onnx_weights import with_own_constants, with_own_weights

RANGES = "ranges.json"


def quantize(
    model: Any,
    layers: Mapping[str, str],
    bits: Mapping[str, int],
    calibration: Arrays,
    ranges: Ranges | None = None,
    weight_top: int = INT8_TOP,
) -> Any:
    """Return a copy of a graph with fewer bits.

    8 bits are QDQ pairs with uint8 activations and int8 weights per channel, the one form that x86 kernels of
    ONNX Runtime run fast. Operators between 8-bit layers (additions, activations, pooling) go with the layer
    before them, so that no region has borders inside. A layer that cannot be quantized where it stands keeps 32 bits,
    which `Runtime.remark` tells of. A weight that others read as well stays for them what it is: the layer has a copy.

    Args:
        model: The float graph (onnx.ModelProto).
        layers: Node name -> layer name.
        bits: Layer name -> 16, 8 or 4.
        calibration: Inputs [M, ...] of the calibration split, for the activation ranges of 8-bit layers.
        ranges: Those ranges, where they are known; see `onnx_calibrate.activation_ranges`. Else they go from the least
            to the largest value.
        weight_top: Largest code of weights in 8 bits, as `Capabilities` has it: 127 or 64.

    Returns:
        The copy, or `model` itself where nothing has fewer bits.

    Raises:
        Exception: The graph does not take the calibration inputs, or cannot be run; ONNX Runtime raises errors of many
            kinds.
    """
    widths = {node: bits.get(layer, 32) for node, layer in layers.items()}
    model = with_own_weights(model, layers, {layer: width for layer, width in bits.items() if width < 32})
    if 8 in widths.values():
        model = _most_in_int8(model, widths, calibration, ranges or {}, weight_top)
    stored = {layer: width for layer, width in bits.items() if width in (4, 16)}
    return _store(model, layers, stored) if stored else model


def _most_in_int8(model: Any, widths: Mapping[str, int], calibration: Arrays, ranges: Ranges, top: int) -> Any:
    far = nodes_beyond_eight_bits(model, calibration)
    try:
        return _int8(model, left_in_float(model, widths, far), calibration, ranges, top)
    except Exception:  # whatever the quantizer does not know of an operator
        given = calibration_inputs(model, calibration, 1)
        float_session(model).run(None, given)  # raises where no quantizer is to blame
        few = tuple(given.values())
    able = {node: 32 if width == 8 else width for node, width in widths.items()}

    def add(nodes: list[str]) -> None:
        more = {**able, **dict.fromkeys(nodes, 8)}
        try:
            _int8(model, left_in_float(model, more, far), few, ranges, top)
        except Exception:
            if len(nodes) > 1:
                add(nodes[: len(nodes) // 2])
                add(nodes[len(nodes) // 2 :])
        else:
            able.update(more)

    add([node for node, width in widths.items() if width == 8])
    return _int8(model, left_in_float(model, able, far), calibration, ranges, top) if 8 in able.values() else model


def _int8(model: Any, excluded: list[str], calibration: Arrays, ranges: Ranges, top: int) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = in_batches(model, calibration)

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            return next(self.batches, None)

    chosen = {node.name for node in model.graph.node}.difference(excluded)
    own = onnx.ModelProto()
    # quantize_static moves the weights of what it is given into files of its own, and replaces them at all readers
    own.CopyFrom(with_own_constants(model, chosen))
    name_types(own)
    with temporary_folder() as folder, quietly(stdout=False):
        # onnxruntime advises on a preparation that the template has already had
        path = folder / "int8.onnx"
        if ranges:
            _write_ranges(folder / RANGES, ranges)
        quantize_static(
            own,
            path,
            Batches(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=top < INT8_TOP,  # a grid from -64 to 64
            nodes_to_exclude=excluded,
            calibration_cache_path=folder / RANGES if ranges else None,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        return onnx.load(path)


def _write_ranges(path: Path, ranges: Ranges) -> None:
    """Write ranges as the quantizer keeps those of a calibration, which it then does not make."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    ends = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, ends), path)


def _store(model: Any, layers: Mapping[str, str], stored: Mapping[str, int]) -> Any:
    # weights of the layers in `stored` as float16 with a cast, or as int4 per channel with a dequantization
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    initializers = {i.name: i for i in copy.graph.initializer}
    before = []
    for node in copy.graph.node:
        width = stored.get(layers.get(node.name, ""), 32)
        if width == 32 or node.input[1] not in initializers:
            continue
        name = node.input[1]
        weight = numpy_helper.to_array(initializers[name])
        copy.graph.initializer.remove(initializers.pop(name))
        if width == 16:
            copy.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float16), f"{name}_fp16"))
            before.append(helper.make_node("Cast", [f"{name}_fp16"], [name], f"{name}_cast", to=TensorProto.FLOAT))
            continue
        # the output channels are the last dimension of a MatMul's weight and, without transB, of a Gemm's
        trans_b = any(a.name == "transB" and a.i for a in node.attribute)
        axis = 0 if node.op_type == "Conv" or trans_b else weight.ndim - 1
        others = tuple(a for a in range(weight.ndim) if a != axis)
        scale = np.maximum(np.abs(weight).max(axis=others), 1e-12).astype(np.float32) / 7
        shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
        codes = np.clip(np.rint(weight / scale.reshape(shape)), -7, 7).astype(np.int8)
        zero = np.zeros(scale.shape, np.int8)
        weights = [int4_tensor(f"{name}_int4", codes), int4_tensor(f"{name}_zero", zero)]
        copy.graph.initializer.extend([*weights, numpy_helper.from_array(scale, f"{name}_scale")])
        before.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{name}_int4", f"{name}_scale", f"{name}_zero"],
                [name],
                f"{name}_dequantize",
                axis=axis,
            )
        )
    nodes = [*before, *copy.graph.node]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
