"""Tiny ONNX files for tests: chains of convolutions with a classifier on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def conv_chain(
    path: Path, channels: int = 16, depth: int = 3, size: int = 16, batch: int | str = 1, classes: int = 10
) -> Path:
    """Write a chain of 3x3 convolutions with ReLU and a classifier.

    Args:
        path: Where the file is to lie.
        channels: Of each convolution.
        depth: Number of convolutions.
        size: Of images, which are [batch, 3, size, size].
        batch: Images at a time; a string leaves that open.
        classes: The output is [batch, classes].

    Returns:
        The path.
    """
    random = np.random.default_rng(0)
    nodes, weights, before, name = [], [], 3, "image"
    for index in range(depth):
        scale = (2 / (before * 9)) ** 0.5
        weight = random.standard_normal((channels, before, 3, 3)).astype(np.float32) * np.float32(scale)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("Conv", [name, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        before, name = channels, f"r{index}"
    head = random.standard_normal((channels, classes)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "head"], ["scores"]))
    graph = helper.make_graph(
        nodes,
        "conv_chain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
