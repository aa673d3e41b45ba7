"""ONNX in the form that TensorRT takes.

Its networks are strongly typed: the type of a tensor is the precision it is computed in, so that bits are written out
as types, casts and Q/DQ pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .onnx_float import in_batches, node_bits
from .onnx_int4 import int4_tensor
from .onnx_weights import with_own_weights

BLOCK = 128
"""Inputs that share one scale of a 4-bit weight."""
_FLOAT, _HALF = 1, 10  # onnx.TensorProto.FLOAT, FLOAT16
_WORDS = {_FLOAT: "float", _HALF: "half"}
_LEAST_SCALE = np.finfo(np.float16).smallest_subnormal
# What these put out is fixed by an attribute, not by what they take in.
_OWN_TYPE = ("Cast", "Constant", "ConstantOfShape", "EyeLike", "RandomNormal", "RandomUniform")
_STAYS_FLOAT = {"Resize": (1, 2)}  # operator -> inputs that ONNX wants in float32 whatever the others are


def typed(
    model: Any,
    layers: Mapping[str, str],
    bits: Mapping[str, int],
    calibration: NDArray[Any],
    activations: bool = True,
) -> Any:
    """Return a copy of a graph with fewer bits; its input and output stay float32.

    16 bits are float16, with casts at the borders. 8 bits are Q/DQ pairs around the inputs and the weights (int8,
    symmetric; TensorRT takes no zero points and no int32 biases); what a kernel leaves over is float16. 4 bits are
    weights of linear layers in blocks, beside float16 inputs. Operators between layers go with the layer before them.

    Args:
        model: The float graph (onnx.ModelProto).
        layers: Node name -> layer name.
        bits: Layer name -> 16, 8 or 4.
        calibration: Inputs [M, ...] float32 of the calibration split, for the activation ranges of 8-bit layers.
        activations: Whether 8 bits are those of inputs too; else of weights alone.

    Raises:
        ValueError: A layer has no such form.
    """
    widths = {node: bits.get(layer, 32) for node, layer in layers.items()}
    model = with_own_weights(model, layers, {layer: width for layer, width in bits.items() if width in (8, 4)})
    return _Writer(model, widths, calibration, activations).write()


def has_two_four(model: Any, layers: Mapping[str, str]) -> bool:
    """Return whether any layer's weights are zero in two of every four consecutive inputs.

    That is how sparse tensor cores want them.

    Args:
        model: The graph (onnx.ModelProto).
        layers: Node name -> layer name.
    """
    from onnx import numpy_helper

    weights = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.name in layers and node.input[1] in weights:
            weight = numpy_helper.to_array(weights[node.input[1]])
            inputs = np.moveaxis(weight, 1 - _out_axis(node, weight), -1)
            fours = inputs[..., : inputs.shape[-1] // 4 * 4].reshape(-1, 4)
            if len(fours) and (np.count_nonzero(fours, axis=1) <= 2).all():
                return True
    return False


class _Writer:
    """Writes the nodes of one graph anew, each tensor in the types its readers ask for."""

    def __init__(self, model: Any, widths: Mapping[str, int], calibration: NDArray[Any], activations: bool) -> None:
        from onnx import ModelProto, numpy_helper, shape_inference

        self._model = ModelProto()
        self._model.CopyFrom(model)
        graph = shape_inference.infer_shapes(model).graph
        values = (*graph.value_info, *graph.input, *graph.output)
        self._floats = {v.name for v in values if v.type.tensor_type.elem_type == _FLOAT}
        self._floats |= {i.name for i in graph.initializer if i.data_type == _FLOAT}
        self._constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self._widths = widths
        self._activations = activations
        self._bits = node_bits(model, widths)
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._types = {i.name: _FLOAT for i in graph.input}  # float tensor -> the type it is made in
        self._done: set[str] = set()
        self._makers = {name: (i, n) for i, n in enumerate(self._model.graph.node) for name in n.output}
        self._ranges: dict[str, Any] = _ranges(model, sorted(set(self._quantized_inputs())), calibration)

    def write(self) -> Any:
        """Return the graph (onnx.ModelProto)."""
        import onnx

        graph = self._model.graph
        nodes = list(graph.node)
        kept = [i for i in graph.initializer if i.name not in self._floats]
        for node in nodes:
            self._write_node(node)
        for output in graph.output:
            if self._types.get(output.name, _FLOAT) != _FLOAT:
                self._rename_output(output.name)
        for field, content in ((graph.node, self._nodes), (graph.initializer, [*kept, *self._initializers.values()])):
            del field[:]
            field.extend(content)
        del graph.value_info[:]
        onnx.checker.check_model(self._model, full_check=True)
        return self._model

    def _write_node(self, node: Any) -> None:
        width = self._bits[node.name]
        kind = _FLOAT if width == 32 or node.op_type in _OWN_TYPE else _HALF
        quantized = self._quantized_at(node)
        for index, name in enumerate(node.input):
            if name not in self._floats:
                continue
            if index == 1 and self._widths.get(node.name, 32) in (8, 4):
                node.input[index] = self._weight(node)
            elif index in _STAYS_FLOAT.get(node.op_type, ()):
                node.input[index] = self._in_type(name, _FLOAT)
            else:
                node.input[index] = self._quantize(name) if index in quantized else self._in_type(name, kind)
        self._types.update({name: kind for name in node.output if name in self._floats})
        self._nodes.append(node)

    def _quantized_at(self, node: Any) -> tuple[int, ...]:
        # a layer's own inputs are quantized, and the shortcut of a residual block, so that the addition becomes part of
        # the convolution before it
        if not self._activations:
            return ()
        if self._widths.get(node.name) == 8:
            return (0,)
        if node.op_type == "Add" and self._bits[node.name] == 8 and not set(node.input) & set(self._constants):
            made = [self._makers.get(name, (-1, None)) for name in node.input]
            late = made[0] if made[0][0] > made[1][0] else made[1]
            if late[1] is not None and late[1].op_type == "Conv" and self._widths.get(late[1].name) == 8:
                return (1 if late is made[0] else 0,)
        return ()

    def _quantized_inputs(self) -> Iterator[str]:
        for node in self._model.graph.node:
            yield from (node.input[index] for index in self._quantized_at(node))

    def _in_type(self, name: str, kind: int) -> str:
        # a cast is made once, at its first reader
        if name in self._constants:
            return self._constant(name if kind == _FLOAT else f"{name}_half", _rounded(self._constants[name], kind))
        if self._types.get(name, _FLOAT) == kind:
            return name
        return self._add("Cast", [name], f"{name}_{_WORDS[kind]}", to=kind)

    def _quantize(self, name: str, axis: int | None = None) -> str:
        # on a grid of 127 steps to either side, which reaches as far as the tensor's range does
        attributes = {} if axis is None else {"axis": axis}
        base = f"{name}_int8"
        scale = np.maximum(_rounded(np.asarray(self._ranges[name], np.float32) / 127, _HALF), _LEAST_SCALE)
        grid = [
            self._constant(f"{base}_scale", scale),
            self._constant(f"{base}_zero", np.zeros(scale.shape, np.int8)),
        ]
        if name in self._constants and not self._activations:
            # stored as they are: the parser would fold a pair on a weight back into a float one
            weight = self._constants[name]
            steps = scale.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(weight.ndim)])
            codes = self._constant(f"{base}_codes", np.rint(weight / steps).clip(-127, 127).astype(np.int8))
        else:
            source = self._in_type(name, _HALF)
            codes = self._add("QuantizeLinear", [source, *grid], f"{base}_codes", **attributes)
        return self._add("DequantizeLinear", [codes, *grid], f"{base}_dequantized", **attributes)

    def _weight(self, node: Any) -> str:
        name = node.input[1]
        weight = self._constants[name]
        axis = _out_axis(node, weight)
        if self._widths[node.name] == 4:
            return self._blocks(node, name, weight, 1 - axis)
        self._ranges[name] = np.abs(weight).max(axis=tuple(a for a in range(weight.ndim) if a != axis))
        return self._quantize(name, axis)

    def _blocks(self, node: Any, name: str, weight: NDArray[Any], axis: int) -> str:
        # in int4, with a scale for each BLOCK inputs along `axis`
        if node.op_type == "Conv" or weight.ndim != 2:
            raise ValueError(f"{node.name} is a {node.op_type}: 4 bits are for linear layers; plan 8 or more")
        size = BLOCK if weight.shape[axis] % BLOCK == 0 else weight.shape[axis]
        parts = np.stack(np.split(weight, weight.shape[axis] // size, axis), axis)
        scale = np.maximum(_rounded(np.abs(parts).max(axis=axis + 1) / 7, _HALF), _LEAST_SCALE)
        codes = np.rint(weight / np.repeat(scale.astype(np.float32), size, axis)).clip(-7, 7).astype(np.int8)
        packed = int4_tensor(f"{name}_int4", codes)
        self._initializers[packed.name] = packed
        return self._add(
            "DequantizeLinear",
            [packed.name, self._constant(f"{name}_scale", scale)],
            f"{name}_dequantized",
            axis=axis,
            block_size=size,
        )

    def _rename_output(self, name: str) -> None:
        inner = f"{name}_half"
        for node in self._nodes:
            for side in (node.input, node.output):
                side[:] = [inner if other == name else other for other in side]
        self._add("Cast", [inner], name, to=_FLOAT)

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        if output not in self._done:
            self._done.add(output)
            self._nodes.append(helper.make_node(operator, inputs, [output], f"{output}_{operator}", **attributes))
        return output


def _out_axis(node: Any, weight: NDArray[Any]) -> int:
    # the output channels are last in a MatMul's weight and, without transB, in a Gemm's
    trans_b = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or trans_b else weight.ndim - 1


def _rounded(value: NDArray[Any], kind: int) -> NDArray[Any]:
    # float32 as it is, or the nearest finite float16
    if kind == _FLOAT:
        return value
    top = np.finfo(np.float16).max
    return np.where(np.isfinite(value), value.clip(-top, top), value).astype(np.float16)


def _ranges(model: Any, names: list[str], calibration: NDArray[Any]) -> dict[str, float]:
    # Tensor -> its largest magnitude over the calibration inputs, found inside the graph: whole feature maps of
    # hundreds of images would not fit into memory.
    if not names:
        return {}
    import onnxruntime
    from onnx import ModelProto, TensorProto, helper

    graph_model = ModelProto()
    graph_model.CopyFrom(model)
    graph = graph_model.graph
    del graph.output[:]
    for name in names:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}_abs"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}_abs"], [f"{name}_top"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{name}_top", TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph_model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    tops = [session.run(None, batch) for batch in in_batches(model, calibration)]
    return dict(zip(names, np.max(tops, axis=0).tolist(), strict=True))
