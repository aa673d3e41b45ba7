"""Whether the int8 kernels that a runtime chose for this CPU overflow, and how far weights may go then.

On x86 without VNNI, `vpmaddubsw` multiplies uint8 by int8 and adds products in pairs, in 16 bits: two of 255 x 127 are
more than these hold, and the sum is cut off without a word. With codes of weights from -64 to 64 it cannot be. See
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, which speaks of a reduced range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spaces.target import INT8_TOP

SAFE_TOP = 64
"""The largest code whose products, two together, fit into 16 bits: 2 x 255 x 64 < 2 ** 15."""
_INPUTS, _OUTPUTS, _CODE = 64, 16, 255


def top_without_overflow(run: Callable[[bytes, NDArray[Any]], NDArray[Any]]) -> int:
    """Return the largest code that weights in 8 bits may have: 127, or 64 where kernels overflow.

    It is no matter of the name of a CPU: a product of the largest codes is worked out.

    Args:
        run: Answers an input with an ONNX file that is given as bytes, on the CPU.
    """
    sums = run(_product(), np.full((1, _INPUTS), _CODE, np.float32))
    return INT8_TOP if np.allclose(sums, _CODE * INT8_TOP * _INPUTS) else SAFE_TOP


def _product() -> bytes:
    """Return a file of one linear layer in 8 bits whose weights, and whose inputs, have the largest codes."""
    from onnx import TensorProto, helper, numpy_helper

    one, weight = np.float32(1), np.full((_INPUTS, _OUTPUTS), INT8_TOP, np.int8)
    constants = {"one": one, "least": np.uint8(0), "zero": np.int8(0), "codes": weight}
    nodes = [
        helper.make_node("QuantizeLinear", ["row", "one", "least"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "one", "least"], ["inputs"]),
        helper.make_node("DequantizeLinear", ["codes", "one", "zero"], ["weight"]),
        helper.make_node("MatMul", ["inputs", "weight"], ["sums"]),
    ]
    given = helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, _INPUTS])
    sums = helper.make_tensor_value_info("sums", TensorProto.FLOAT, [1, _OUTPUTS])
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product", [given], [sums], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())
