"""Recurrent layers in 8 bits: LSTM layers that run in them on ONNX Runtime, and weights that are only stored in them.

ONNX Runtime's `DynamicQuantizeLSTM` multiplies in int8: what is read and what is remembered is rounded over the range
that it has at the time. There is no such kernel for GRU. Its weights are codes with a scale for each row in the file,
of which runtimes make float numbers once, while they load it. Plain recurrent layers have no operator in files at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spaces.spec import DYNAMIC, FLOAT
from ...spaces.target import INT8_TOP
from .onnx_ways import DOMAIN

BITS = 8
STORED: Mapping[str, Mapping[int, tuple[str, ...]]] = {kind: {BITS: (FLOAT,)} for kind in ("lstm", "gru")}
"""Kind of layer -> bits -> the forms that every runtime of ONNX files has."""
RUN: Mapping[str, Mapping[int, tuple[str, ...]]] = {**STORED, "lstm": {BITS: (DYNAMIC, FLOAT)}}
"""The forms that ONNX Runtime has."""
OPERATORS = ("LSTM", "GRU")


def store_recurrent(
    model: Any,
    recurrent: Mapping[str, str],
    bits: Mapping[str, int],
    activations: Mapping[str, str] | None = None,
    weight_top: int = INT8_TOP,
) -> Any:
    """Return a copy of a graph with recurrent layers in 8 bits, or the graph itself where none is.

    A layer whose weights are no constants stays as it is, which `Runtime.remark` tells of where it was to run in int8.

    Args:
        model: The graph (onnx.ModelProto).
        recurrent: Node name -> the recurrent layer that it runs.
        bits: Layer name -> bits of its weights.
        activations: Layer name -> "dynamic" for LSTM layers that are to run in 8 bits.
        weight_top: Largest code of the weights of these, as `Capabilities` has it.
    """
    import onnx
    from onnx import helper, numpy_helper

    asked = {name for name, layer in recurrent.items() if bits.get(layer, 32) == BITS}
    if not any(node.name in asked and node.op_type in OPERATORS for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = [node for node in copy.graph.node if node.name in asked and node.op_type in OPERATORS]
    weights = _constants(copy, {name for node in wanted for name in node.input[1:3]})
    made: dict[str, NDArray[Any]] = {}
    nodes: list[Any] = []
    for node in copy.graph.node:
        if node.name not in asked or not set(node.input[1:3]) <= weights.keys():
            nodes.append(node)
        elif node.op_type == "LSTM" and (activations or {}).get(recurrent[node.name]) == DYNAMIC:
            nodes.append(_dynamic(node, weights, made, weight_top))
        else:
            nodes += [*_from_codes(node, weights, made), node]
    kept = _read(nodes, {value.name for value in copy.graph.output})
    read = {name for node in kept for name in node.input} | {value.name for value in copy.graph.output}
    left = [each for each in copy.graph.initializer if each.name in read]
    both = [*left, *(numpy_helper.from_array(array, name) for name, array in made.items())]
    for held, now in ((copy.graph.initializer, both), (copy.graph.node, kept)):
        parts = [type(each).FromString(each.SerializeToString()) for each in now]
        del held[:]
        held.extend(parts)
    if any(node.domain == DOMAIN for node in kept) and all(known.domain != DOMAIN for known in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return copy


def _dynamic(node: Any, weights: Mapping[str, NDArray[Any]], made: dict[str, NDArray[Any]], top: int) -> Any:
    """Return the node that runs an LSTM layer in int8; it has the same name and the same outputs."""
    from onnx import helper

    given, scales = [*node.input, *[""] * (8 - len(node.input))], []
    for at in (1, 2):
        codes, scale = _rounded(weights[node.input[at]], top)
        names = [f"{node.input[at]}_{what}" for what in ("transposed", "scales", "zero_points")]
        arrays = (np.ascontiguousarray(codes.transpose(0, 2, 1)), scale, np.zeros_like(scale, np.int8))
        made |= zip(names, arrays, strict=True)
        given[at] = names[0]
        scales += names[1:]
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute if each.name != "layout"}
    outputs, inputs = list(node.output), [*given, *scales]
    return helper.make_node("DynamicQuantizeLSTM", inputs, outputs, node.name, domain=DOMAIN, **attributes)


def _from_codes(node: Any, weights: Mapping[str, NDArray[Any]], made: dict[str, NDArray[Any]]) -> list[Any]:
    """Return the nodes that make the weights of a node of codes; it reads them under new names from now on.

    A multiplication by constants is worked out while a file is loaded. `DequantizeLinear` is not: it runs each time.
    Both its factors have their signs turned: where OpenVINO finds codes times a scale beside layers in int8, it runs
    recurrent layers in int8 too, which answer something else or do not load.
    """
    from onnx import TensorProto, helper

    nodes = []
    for at in (1, 2):
        name = node.input[at]
        codes, scale = _rounded(weights[name], INT8_TOP)
        stored = {f"{name}_quantized": codes, f"{name}_scale": -scale[..., None]}
        if not stored.keys() <= made.keys():
            made |= stored
            first, second = stored
            cast, turned, product = (f"{name}_{what}" for what in ("cast", "turned", "product"))
            nodes.append(helper.make_node("Cast", [first], [cast], cast, to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Neg", [cast], [turned], turned))
            nodes.append(helper.make_node("Mul", [turned, second], [product], product))
        node.input[at] = f"{name}_product"
    return nodes


def _rounded(weight: NDArray[Any], top: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the codes of a weight [directions, rows, numbers], int8, and the scale of each row [directions, rows]."""
    scale = np.maximum(np.abs(weight).max(axis=2), 1e-12).astype(np.float32) / np.float32(top)
    return np.clip(np.rint(weight / scale[..., None]), -top, top).astype(np.int8), scale


def _constants(model: Any, names: set[str]) -> dict[str, NDArray[Any]]:
    """Return the values of those of these tensors that hang on initializers alone."""
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    stored = {each.name: each for each in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    needed: dict[str, Any] = {}  # output -> the node that makes it, in order of execution

    def known(name: str) -> bool:
        if name in stored or name in needed or not name:
            return True
        node = makers.get(name)
        if node is None or not all(known(given) for given in node.input):
            return False
        needed.update(dict.fromkeys(node.output, node))
        return True

    found = {name: numpy_helper.to_array(stored[name]) for name in names if name in stored}
    computed = [name for name in sorted(names - found.keys()) if known(name)]
    if computed:
        nodes = list({id(node): node for node in needed.values()}.values())
        read = {name for node in nodes for name in node.input}
        outputs = [helper.make_tensor_value_info(name, 1, None) for name in computed]
        constants = [stored[name] for name in sorted(read & stored.keys())]
        graph = helper.make_graph(nodes, "weights", [], outputs, constants)
        part = helper.make_model(graph, opset_imports=model.opset_import)
        found |= zip(computed, ReferenceEvaluator(part).run(None, {}), strict=True)
    return {name: value for name, value in found.items() if value.ndim == 3 and value.dtype == np.float32}


def _read(nodes: list[Any], outputs: set[str]) -> list[Any]:
    """Return the nodes that the outputs of a graph hang on."""
    read, kept = set(outputs), []
    for node in reversed(nodes):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    return kept[::-1]
