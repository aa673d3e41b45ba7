"""Linear layers of ONNX Runtime whose activations have no range that is known before the file runs.

Dynamic ones are rounded over the range of each batch as it comes. Float ones stay as they are, beside weights of few
bits that are kept by groups; the kernel may round each group of inputs to 8 bits of its own while it multiplies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spaces.spec import DYNAMIC, FLOAT, GROUP
from ...spaces.target import INT8_TOP, top_of
from .onnx_weights import with_own_weights

WAYS: Mapping[int, tuple[str, ...]] = {8: (DYNAMIC, FLOAT), 4: (FLOAT,)}
"""Bits of weights -> what there is a form for."""
DOMAIN = "com.microsoft"
INT8_MATH = 4
"""The accuracy level at which `MatMulNBits` multiplies in int8, several times as fast as in float."""


def compute_otherwise(
    model: Any,
    layers: Mapping[str, str],
    bits: Mapping[str, int],
    activations: Mapping[str, str],
    weight_top: int = INT8_TOP,
) -> Any:
    """Return a copy of a graph in which some linear layers have dynamic or float activations.

    A layer that stands in the graph in a form that is not known stays as it is, which `Runtime.remark` tells of.

    Args:
        model: The graph (onnx.ModelProto); these layers are still in float.
        layers: Node name -> layer name.
        bits: Layer name -> bits of its weights.
        activations: Layer name -> "dynamic" or "float".
        weight_top: Largest code of weights in 8 bits with dynamic activations, as `Capabilities` has it.

    Returns:
        The copy, or `model` itself where there are no such layers.
    """
    import onnx
    from onnx import helper, numpy_helper

    asked = {node: layer for node, layer in layers.items() if layer in activations}
    if not asked:
        return model
    forms = {layer: (bits.get(layer, 32), way) for layer, way in activations.items()}
    copy = onnx.ModelProto()
    copy.CopyFrom(with_own_weights(model, layers, forms))
    initializers = {each.name: each for each in copy.graph.initializer}
    nodes: list[Any] = []
    made: dict[str, NDArray[Any]] = {}
    for node in list(copy.graph.node):
        layer = asked.get(node.name, "")
        weight = _weight_of(node, initializers) if layer else None
        way, width = activations.get(layer, ""), bits.get(layer, 32)
        if weight is None or way not in WAYS.get(width, ()):
            nodes.append(node)
            continue
        form = _Form(node)
        arrays = form.dynamic(weight, weight_top) if way == DYNAMIC else form.by_groups(weight, width)
        made |= arrays
        nodes += form.nodes
    read = {name for node in nodes for name in node.input} | {value.name for value in copy.graph.output}
    left = [each for name, each in initializers.items() if name in read]
    both = [*left, *(numpy_helper.from_array(array, name) for name, array in made.items())]
    for held, now in ((copy.graph.initializer, both), (copy.graph.node, nodes)):
        kept = [type(each).FromString(each.SerializeToString()) for each in now]
        del held[:]
        held.extend(kept)
    if any(node.domain == DOMAIN for node in nodes) and all(known.domain != DOMAIN for known in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return copy


def _weight_of(node: Any, initializers: Mapping[str, Any]) -> NDArray[Any] | None:
    """Return the weight [out, in] of a node that is nothing but a linear layer."""
    from onnx import numpy_helper

    numbers = {a.name: a.f if a.name in ("alpha", "beta") else a.i for a in node.attribute}
    plain = node.op_type == "MatMul" or (
        node.op_type == "Gemm"
        and not numbers.get("transA", 0)
        and numbers.get("alpha", 1.0) == numbers.get("beta", 1.0) == 1.0
    )
    if not plain or node.input[1] not in initializers:
        return None
    weight: NDArray[Any] = numpy_helper.to_array(initializers[node.input[1]])
    if weight.ndim != 2 or weight.dtype != np.float32:
        return None
    return weight if numbers.get("transB", 0) else weight.T


class _Form:
    """The nodes that stand in for one linear layer."""

    def __init__(self, node: Any) -> None:
        self.nodes: list[Any] = []
        self._node, self._weight = node, node.input[1]

    def dynamic(self, weight: NDArray[Any], top: int) -> dict[str, NDArray[Any]]:
        """Make the form with dynamic activations, and return its initializers; sessions join it to one operator."""
        from onnx import TensorProto

        codes, scale = _rounded(weight, top)
        names = [f"{self._weight}_{what}" for what in ("quantized", "scale", "zero_point")]
        outputs = [f"{self._node.name}_{what}" for what in ("rounded", "rounded_scale", "rounded_zero")]
        self._add("DynamicQuantizeLinear", [self._node.input[0]], outputs)
        summed = self._add("MatMulInteger", [outputs[0], names[0], outputs[2], names[2]], ["sums"])
        scales = self._add("Mul", [outputs[1], names[1]], ["scales"])
        cast = self._add("Cast", [summed], ["float"], to=TensorProto.FLOAT)
        self._finish(self._add("Mul", [cast, scales], ["product"]))
        return dict(zip(names, (np.ascontiguousarray(codes.T), scale, np.zeros(len(scale), np.int8)), strict=True))

    def by_groups(self, weight: NDArray[Any], width: int) -> dict[str, NDArray[Any]]:
        """Make the form with float activations and weights by groups, and return its initializers."""
        outputs, inputs = weight.shape
        groups = -(-inputs // GROUP)
        whole = np.pad(weight, ((0, 0), (0, groups * GROUP - inputs)))
        codes, scale = _rounded(whole.reshape(-1, GROUP), top_of(width))
        packed = (codes.astype(np.int16) + 2 ** (width - 1)).astype(np.uint8).reshape(outputs, groups, GROUP)
        if width == 4:
            packed = packed[..., ::2] | packed[..., 1::2] << 4
        names = [f"{self._weight}_Q{width}", f"{self._weight}_scales"]
        numbers = {"K": inputs, "N": outputs, "bits": width, "block_size": GROUP, "accuracy_level": INT8_MATH}
        given = [self._node.input[0], *names]
        self._finish(self._add("MatMulNBits", given, ["product"], domain=DOMAIN, **numbers))
        return dict(zip(names, (packed, scale.reshape(outputs, groups)), strict=True))

    def _finish(self, product: str) -> None:
        bias = self._node.input[2:3]
        if bias:
            self._add("Add", [product, bias[0]], ["sum"])
        self.nodes[-1].output[0] = self._node.output[0]

    def _add(self, kind: str, given: list[str], outputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"{self._node.name}_{outputs[0]}"
        made = outputs if len(outputs) > 1 else [name]
        # the multiplication keeps the name of the layer's node
        own = self._node.name if kind.startswith("MatMul") else name
        self.nodes.append(helper.make_node(kind, given, made, own, **attributes))
        return made[0]


def _rounded(weight: NDArray[Any], top: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the codes of a weight [rows, numbers] on the symmetric grid of each row, int8, and its scales [rows]."""
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-12).astype(np.float32) / np.float32(top)
    return np.clip(np.rint(weight / scale[:, None]), -top, top).astype(np.int8), scale
