"""Which layer of the network each part of an ONNX file belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_WEIGHTED = ("Conv", "Gemm", "MatMul", "MatMulInteger", "MatMulNBits")
_PREPARING = ("DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Reshape")
_STORED = ("_quantized", "_int4", "_fp16", "_Q4", "_Q8")  # what quantizers add to the names of weights


@dataclass(frozen=True)
class FileLayers:
    """The layers of an ONNX file, by the names of its parts.

    Attributes:
        nodes: Node -> the layer that it computes.
        initializers: Initializer -> the layer whose weights or biases it holds; what several layers read is left out.
        outputs: Tensor -> the layer that computes it.
        followed: Tensor or node -> the layer behind it, with nothing but operators of one input in between; a runtime
            that joins a layer with its activation or its bias may call both by the latter, or by its output.
    """

    nodes: Mapping[str, str]
    initializers: Mapping[str, str]
    outputs: Mapping[str, str]
    followed: Mapping[str, str]


def layers_in(model: Any, known: Mapping[str, str]) -> FileLayers:
    """Return the layers of a file.

    A node is known by the name of its weights, where that carries the layer's, else by its own name.

    Args:
        model: The graph (onnx.ModelProto).
        known: Node name -> layer name, of the graph that the file was built from.
    """
    names = set(known.values())
    stored = {initializer.name for initializer in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}

    def constants(tensor: str) -> list[str]:
        if tensor in stored:
            return [tensor]
        maker = makers.get(tensor)
        if maker is None or maker.op_type not in _PREPARING:
            return []
        found = [constants(given) for given in maker.input if given]
        return [name for part in found for name in part] if all(found) else []

    nodes: dict[str, str] = {}
    owners: dict[str, set[str]] = {}
    outputs: dict[str, str] = {}
    followed: dict[str, str] = {}
    for node in model.graph.node:
        layer = None
        if node.op_type in _WEIGHTED and len(node.input) > 1:
            layer = next((n for c in constants(node.input[1]) if (n := _weight_of(c)) in names), known.get(node.name))
        if layer is not None:
            nodes[node.name] = layer
            outputs.update(dict.fromkeys(node.output, layer))
            followed.update(dict.fromkeys(node.output, layer))
            for given in node.input[1:]:
                for constant in constants(given):
                    owners.setdefault(constant, set()).add(layer)
            continue
        if node.op_type in _WEIGHTED:
            continue
        moving = [given for given in node.input if given and not constants(given)]
        if len(moving) == 1 and moving[0] in followed:
            followed.update(dict.fromkeys((node.name, *node.output), followed[moving[0]]))
    initializers = {name: next(iter(layers)) for name, layers in owners.items() if len(layers) == 1}
    return FileLayers(nodes, initializers, outputs, followed)


def _weight_of(initializer: str) -> str:
    # the layer that an initializer's name says it holds the weights of
    for suffix in _STORED:
        initializer = initializer.removesuffix(suffix)
    return initializer.removesuffix(".weight") if initializer.endswith(".weight") else ""
